"""Sealing anew: a new file id, a new file key, a new recipient list, the same content. It is what taking access away means.

`revoke` tells the truth: whoever could open the old file may have kept its key or its content, and an old copy stays readable to them. What
revoking gives is that the new file, and everything sealed after it, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Unpack, cast

from stfed.audit import AuditLog, Kind
from stfed.errors import LocalError
from stfed.files import check_target, opened
from stfed.keys.encryption import Recipient
from stfed.keys.keyfile import PathLike, RecipientLike, SignerLike, read_recipients
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.sealed.envelope import Envelope
from stfed.sealed.grants import Grant, key_sha256
from stfed.sealed.locking import locked
from stfed.sealed.manifest import Manifest
from stfed.sealed.options import OpenOptions
from stfed.sealed.reader import SealedReader
from stfed.sealed.recipients import is_for
from stfed.sealed.sealrequest import read_signers
from stfed.sealed.statements import Scalar
from stfed.sealed.stream import Payload, Progress
from stfed.sealed.trail import trail
from stfed.sealed.writer import seal_to_path


def reseal(
    path: PathLike,
    out: PathLike | None = None,
    *,
    recipients: RecipientLike | Iterable[RecipientLike] | Roster,
    signer: SignerLike | Iterable[SignerLike] | None = None,
    progress: Progress | None = None,
    **options: Unpack[OpenOptions],
) -> Manifest:
    """Seals the content of a sealed file anew, to these recipients and no others, under a new key.

    Policy and statements stay. The new file names the old one as `previous` and its `revision` is one higher, so that a reader who pins the
    model, and trusts the new signer as well, refuses the old one afterwards. Plaintext is never on disk, and only a few segments of it are
    in memory.

    Args:
        path: the sealed file.
        out: the new one; takes the old one's place if left out.
        recipients: public keys of one kind.
        signer: signing key or keys; needed where the old file is signed. Unless `trusted` says otherwise, the old file must be signed by
            one of them: nobody puts their name under what a stranger has put there.
        progress: hears of every segment.
        options: how the old file is opened, as `OpenOptions` says.

    Raises:
        LocalError: if the old file is signed and no signer is given.
        SealError: if the old file does not open.
    """
    signers = read_signers(signer)
    with _opened(path, out, signers, options) as (reader, target):
        return _anew(reader, target, recipients, signers, options.get("audit"), progress)


def revoke(
    path: PathLike,
    out: PathLike | None = None,
    *,
    revoked: RecipientLike | Iterable[RecipientLike],
    known: RecipientLike | Iterable[RecipientLike],
    signer: SignerLike | Iterable[SignerLike] | None = None,
    progress: Progress | None = None,
    **options: Unpack[OpenOptions],
) -> Manifest:
    """Seals a file anew to everybody who can open it now but `revoked`.

    A file does not hold its recipients' public keys, only marks that those who know a key can match. So the keys that stay must be `known`.

    Args:
        path: the sealed file.
        out: the new one; takes the old one's place if left out.
        revoked: public keys that lose access.
        known: public keys among which the remaining recipients are, such as all keys of a roster.
        signer: as in `reseal`.
        progress: hears of every segment.
        options: how the old file is opened.

    Raises:
        LocalError: if `revoked` are no recipients of the file, nobody would be left, or a recipient is not among the known keys.
        SealError: if the old file does not open.
    """
    dropped, candidates = read_recipients(revoked), read_recipients(known)
    signers = read_signers(signer)
    with _opened(path, out, signers, options) as (reader, target), trail(options.get("audit")) as log:
        envelope = reader.outside.envelope
        present = [key.fingerprint for key in dropped if envelope.addresses(key) or envelope.grants_to(key)]
        if not present:
            raise LocalError(f"{', '.join(key.fingerprint for key in dropped)} cannot open {path} in the first place")
        remaining, strangers = _remaining(envelope, dropped, candidates)
        if strangers:
            raise LocalError(
                f"{path} has {strangers} recipients whose public keys are not known here: they would lose access too",
                hint="name their keys among the known ones, or use reseal with the list that you want",
            )
        if not remaining:
            raise LocalError(f"nobody could open {path} any more", hint="delete it")
        new = _anew(reader, target, remaining, signers, options.get("audit"), progress)
        actor = [key.fingerprint for key in new.context.signers] or [reader.access.who]
        log.note(Kind.REVOKE, target, new, actor=actor, recipients=present, previous=reader.manifest.sha256.hex())
        return new


@contextmanager
def _opened(
    path: PathLike, out: PathLike | None, signers: tuple[SigningKey, ...], options: OpenOptions
) -> Iterator[tuple[SealedReader, PathLike]]:
    """The old file, opened, and where the new one goes. In place, granters wait meanwhile."""
    target = check_target(path if out is None else out)
    asked = dict(options)
    if signers and asked.get("trusted") is None:
        # Else whoever can write to the folder puts a file of their own there, and has our name put under it.
        asked["trusted"] = [key.public for key in signers]
    with ExitStack() as stack:
        if out is None:
            stack.enter_context(locked(stack.enter_context(opened(path)), path))
        yield stack.enter_context(SealedReader(path, **cast(OpenOptions, asked))), target


def _anew(
    reader: SealedReader,
    target: PathLike,
    recipients: RecipientLike | Iterable[RecipientLike] | Roster,
    signers: tuple[SigningKey, ...],
    audit: AuditLog | PathLike | None,
    progress: Progress | None,
) -> Manifest:
    context = reader.manifest.context
    if context.signers and not signers:
        raise LocalError("the file is signed; sealing it anew needs a signature too", hint="signer=...")
    public, sealed = restated(reader)
    return seal_to_path(
        Content(reader.payload), target, recipients=recipients, signer=signers or None, policy=context.policy, provenance=sealed,
        public=public, digest=context.suite.digest or "blake3", audit=audit, progress=progress,
    )  # fmt: skip


def restated(reader: SealedReader) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """What is stated of the content when it is sealed anew: as before, and that this is its next revision. Public and sealed statements."""
    following: dict[str, Scalar] = {"previous": reader.manifest.sha256.hex()}
    revision = reader.statements.get("revision", 0)
    if "sequence" in reader.statements and isinstance(revision, int):
        following["revision"] = revision + 1
    public = {**reader.manifest.context.public}
    sealed = {name: value for name, value in reader.statements.items() if name not in public}
    for name, value in following.items():
        place, other = (public, sealed) if "sequence" in public else (sealed, public)
        other.pop(name, None)
        place[name] = value
    return public, sealed


def _remaining(envelope: Envelope, dropped: list[Recipient], candidates: list[Recipient]) -> tuple[list[Recipient], int]:
    """Who stays, and how many recipients are neither dropped nor known."""
    marks: list[Callable[[Recipient], bool]] = [partial(is_for, stanza) for stanza in envelope.recipients]
    marks += [partial(_names, grant) for grant in envelope.grants]
    remaining, strangers = [], 0
    for means in marks:
        if any(means(key) for key in dropped):
            continue
        match = next((key for key in candidates if means(key)), None)
        if match is None:
            strangers += 1
        elif match not in remaining:
            remaining.append(match)
    return remaining, strangers


def _names(grant: Grant, key: Recipient) -> bool:
    return grant.recipient == key_sha256(key)


class Content:
    """A payload as plaintext to be sealed."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self.size_bytes: int = payload.size_bytes

    def piece(self, start: int, stop: int, scratch: memoryview) -> memoryview:
        """Decrypts into `scratch`."""
        self._payload.read_into(start, scratch)
        return scratch
