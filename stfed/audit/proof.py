"""Proofs that can be mailed: text that is checked without the log and without a network.

An `InclusionProof` is a C2SP "tlog proof" (c2sp.org/tlog-proof): this entry is in the log that signed this checkpoint.

    c2sp.org/tlog-proof@v1
    extra <the entry itself, base64; optional>
    index <decimal>
    <hash, base64>          none or more
                            an empty line, then the signed checkpoint

A `ConsistencyProof` says that the log only grew. It is written as logs ask witnesses for a cosignature (c2sp.org/tlog-witness,
add-checkpoint), so it can be sent to any of them.

    old <decimal>
    <hash, base64>          none or more
                            an empty line, then the signed checkpoint

`parse` accepts exactly what `str` gives. The specification warns that `extra` is not authenticated. Here it is the entry, and the proof
is over its hash, so `verify` does authenticate it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from stfed.audit import merkle
from stfed.audit.checkpoint import SignedCheckpoint
from stfed.audit.errors import ProofError, UntrustedError
from stfed.audit.events import MAX_ENTRY_BYTES, Entry
from stfed.audit.note import base64_bytes, base64_text, decimal, decoded
from stfed.audit.signatures import VerifierKey
from stfed.errors import LocalError, MalformedError, shown

_FIRST_LINE = "c2sp.org/tlog-proof@v1"


def _parts(data: str | bytes, what: str) -> tuple[list[str], str]:
    """The lines before the first empty one, and the text of the checkpoint behind it."""
    head, blank, checkpoint = decoded(data, what).partition("\n\n")
    if not blank:
        raise MalformedError(f"{what} has no checkpoint behind an empty line")
    return head.split("\n"), checkpoint


def _value(line: str, name: str, what: str) -> str:
    if not line.startswith(f"{name} "):
        raise MalformedError(f"{what} has {shown(line)} where {name!r} is due")
    return line.removeprefix(f"{name} ")


def _hashes(lines: list[str], what: str) -> tuple[bytes, ...]:
    hashes = tuple(base64_bytes(line, f"a hash of {what}") for line in lines)
    if len(hashes) >= merkle.MAX_PROOF_HASHES or any(len(value) != merkle.HASH_BYTES for value in hashes):
        raise MalformedError(
            f"{what} has more than {merkle.MAX_PROOF_HASHES - 1} hashes, or one that is not {merkle.HASH_BYTES} bytes long"
        )
    return hashes


def _text(head: Iterable[str], hashes: Iterable[bytes], checkpoint: SignedCheckpoint) -> str:
    return "".join(f"{line}\n" for line in (*head, *map(base64_text, hashes), "")) + str(checkpoint)


@dataclass(frozen=True)
class InclusionProof:
    """One entry's place in a signed tree.

    Attributes:
        index: the entry's.
        hashes: the siblings on the way to the root.
        checkpoint: of the tree.
        extra: the entry's bytes; None if the verifier is to bring them.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: SignedCheckpoint
    extra: bytes | None = None

    @classmethod
    def parse(cls, data: str | bytes) -> Self:
        """Reads a tlog proof; MalformedError if it is none."""
        lines, checkpoint = _parts(data, "the proof")
        if lines.pop(0) != _FIRST_LINE:
            raise MalformedError(f"this is no proof: it does not start with {_FIRST_LINE}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = base64_bytes(_value(lines.pop(0), "extra", "the proof"), "the entry in the proof")
            if len(extra) > MAX_ENTRY_BYTES:
                raise MalformedError(f"the entry in the proof is longer than {MAX_ENTRY_BYTES} bytes")
        index = decimal(_value(lines.pop(0) if lines else "", "index", "the proof"), "the index in the proof")
        return cls(index, _hashes(lines, "the proof"), SignedCheckpoint.parse(checkpoint), extra)

    def verify(
        self, trusted: Iterable[VerifierKey | str], *, entry: bytes | None = None, origin: str | None = None, quorum: int = 0
    ) -> Entry:
        """The entry, if the log has it at this index in a tree that it signed and `quorum` of the trusted cosigners saw.

        Args:
            trusted: as in `SignedCheckpoint.verify`, like `origin` and `quorum`.
            entry: the entry's bytes, if the caller has them; else those in the proof.

        Raises:
            LocalError: if the entry is neither in the proof nor given.
            ProofError: if the log does not have it there.
            UntrustedError: if the checkpoint is not signed as required.
            BadSignatureError: if a signature that claims to be by a trusted key is not.
            MalformedError: if what the log has there is no entry of ours.
        """
        data = self.extra if entry is None else entry
        if data is None:
            raise LocalError("the proof does not hold the entry", hint="give the entry's bytes as well")
        self.checkpoint.verify(trusted, origin=origin, quorum=quorum)
        merkle.verify_inclusion(merkle.leaf_hash(data), self.index, self.checkpoint.size, self.hashes, self.checkpoint.root)
        return Entry.parse(self.index, data)

    def __str__(self) -> str:
        extra = [] if self.extra is None else [f"extra {base64_text(self.extra)}"]
        return _text([_FIRST_LINE, *extra, f"index {self.index}"], self.hashes, self.checkpoint)


@dataclass(frozen=True)
class ConsistencyProof:
    """That a log of `old_size` entries grew into that of `checkpoint`, by nothing but appending.

    Attributes:
        old_size: number of entries before.
        hashes: as RFC 9162, section 2.1.4; none from an empty log or to the same size.
        checkpoint: of the log now.
    """

    old_size: int
    hashes: tuple[bytes, ...]
    checkpoint: SignedCheckpoint

    @classmethod
    def parse(cls, data: str | bytes) -> Self:
        """Reads a consistency proof; MalformedError if it is none."""
        lines, checkpoint = _parts(data, "the consistency proof")
        old_size = decimal(_value(lines.pop(0), "old", "the consistency proof"), "the old size in the consistency proof")
        return cls(old_size, _hashes(lines, "the consistency proof"), SignedCheckpoint.parse(checkpoint))

    def verify(self, old: SignedCheckpoint, trusted: Iterable[VerifierKey | str], *, origin: str | None = None, quorum: int = 0) -> None:
        """Returns if the tree of `old`, which the caller verified when it came, is the beginning of this tree, which the log signed.

        Raises:
            ForkError: if the log has signed another tree of the old size: both checkpoints prove it.
            ProofError: if the proof is from another size than `old` has, or does not hold.
            UntrustedError: if the new checkpoint is not signed as required, or of another log.
            BadSignatureError: if a signature that claims to be by a trusted key is not.
        """
        self.checkpoint.verify(trusted, origin=origin, quorum=quorum)
        if self.checkpoint.origin != old.origin:
            raise UntrustedError(f"the proof is about the log {shown(self.checkpoint.origin)}, not {shown(old.origin)}")
        old.check_same_history(self.checkpoint)
        if self.old_size != old.size:
            raise ProofError(
                f"the consistency proof starts at {self.old_size} entries, not at the {old.size} that were seen",
                hint=f"ask the log for a proof from {old.size}",
            )
        merkle.verify_consistency(old.size, self.checkpoint.size, self.hashes, old.root, self.checkpoint.root)

    def __str__(self) -> str:
        return _text([f"old {self.old_size}"], self.hashes, self.checkpoint)
