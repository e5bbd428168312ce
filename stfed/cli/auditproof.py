"""What `stfed audit prove`, `check` and `cosign` do: between whoever has the log and those who do not."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note
from stfed.cli.auditlog import facts, line, log_keys, opened
from stfed.cli.options import print_json, signing_key
from stfed.cli.passphrases import Passphrases
from stfed.errors import LocalError, about

if TYPE_CHECKING:
    from stfed.audit import AuditLog, SignedCheckpoint, VerifierKey

_MAX_BYTES = 4 << 20  # more than any note or proof may have
_SQLITE = b"SQLite format 3\0"


def prove(arguments: argparse.Namespace) -> int:
    """Prints an inclusion proof."""
    with opened(arguments.file, read_only=not arguments.sign) as log:
        if arguments.sign:
            checkpoint: str | bytes = log.checkpoint(signing_key(arguments.sign, Passphrases(arguments.passphrase_file)))
        else:
            checkpoint = _read(arguments.checkpoint) if arguments.checkpoint else _newest(log, arguments.file)
        print(log.inclusion_proof(arguments.index, checkpoint), end="")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Checks an inclusion proof and prints the entry."""
    from stfed.audit import InclusionProof

    with about(arguments.file):
        proof = InclusionProof.parse(_read(arguments.file))
    signed = proof.checkpoint
    cosigners = _cosigner_keys(arguments.cosigners, signed)
    entry = proof.verify(
        [*log_keys(arguments.trusted, signed.origin), *cosigners],
        entry=None if arguments.entry is None else _read(arguments.entry),
        quorum=len({key.public for key in cosigners}) if arguments.quorum is None else arguments.quorum,
    )
    if arguments.json:
        print_json({**facts(entry), "origin": signed.origin, "size": signed.size, "root": signed.root.hex()})
    else:
        print(line(entry))
    return 0


def cosign(arguments: argparse.Namespace) -> int:
    """Adds a cosignature to a checkpoint and prints the whole."""
    from stfed.audit import ConsistencyProof, Witness

    signer = signing_key(arguments.sign, Passphrases(arguments.passphrase_file))
    name = arguments.name or signer.public.fingerprint

    def witness(*trusted: VerifierKey) -> Witness:
        return Witness(arguments.state, name=name, signer=signer, trusted=trusted)

    request = _request(arguments.file, witness().seen)
    checkpoint = ConsistencyProof.parse(request).checkpoint
    print(witness(*log_keys(arguments.trusted, checkpoint.origin)).cosign(request), end="")
    note(f"who trusts this cosignature verifies it with {arguments.sign}.pub, or with {witness().key}")
    return 0


def _request(path: Path, seen: Callable[[str], SignedCheckpoint | None]) -> str:
    """What a witness needs: the consistency proof in the file, or one made from the log or the checkpoint that is in it."""
    from stfed.audit import ConsistencyProof, SignedCheckpoint

    data = _read(path)
    if data.startswith(_SQLITE):
        with opened(path) as log:
            old = seen(log.origin)
            return log.cosign_request(0 if old is None else old.size, _newest(log, path))
    with about(path):
        if data.startswith(b"old "):
            return str(ConsistencyProof.parse(data))
        checkpoint = SignedCheckpoint.parse(data)
    old = seen(checkpoint.origin)
    return str(ConsistencyProof(checkpoint.size if old is not None and old.size == checkpoint.size else 0, (), checkpoint))


def _cosigner_keys(texts: Iterable[str], checkpoint: SignedCheckpoint) -> list[VerifierKey]:
    """From vkeys, or KEY.pub files: under whatever name such a key has signed, because a cosignature does not cover the name."""
    from stfed.audit import VerifierKey, cosigner_key
    from stfed.audit.signatures import Algorithm
    from stfed.keys import read_verifier

    keys = []
    for text in texts:
        if "+" not in text:
            public = read_verifier(text).ed25519
            keys += [cosigner_key(signature.name, public) for signature in checkpoint.note.signatures]
            continue
        keys.append(VerifierKey.parse(text))
        if keys[-1].algorithm is not Algorithm.COSIGNATURE:
            raise LocalError(f"{text} is the key of a log, not of a cosigner", hint="give it as --trusted")
    return keys


def _newest(log: AuditLog, path: Path) -> str:
    text = log.latest_checkpoint()
    if text is None:
        raise LocalError(f"{path} has no checkpoint yet", hint="its keeper makes one with `stfed audit checkpoint`")
    return text


def _read(path: Path) -> bytes:
    """A small file, or the beginning of a log; what is too long to be a proof is refused by whoever parses it."""
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)
