"""Giving access to a sealed file, in place: one envelope slot is written and synced, whatever the size of the file.

The slot in use is never touched, so a crash at any moment leaves the envelope as it was or as it is to be. Those who grant hold a lock on
the file. Taking access away is another matter, see `stfed.sealed.resealing`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Unpack

from stfed.audit import Kind
from stfed.errors import LocalError, about
from stfed.files import File, opened
from stfed.keys.encryption import Recipient
from stfed.keys.keyfile import PathLike, RecipientLike, SignerLike, read_recipients, read_signer
from stfed.keys.signing import VerifyingKey
from stfed.sealed import statements
from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import AccessDeniedError
from stfed.sealed.format import Slot, fits
from stfed.sealed.grants import Grant, key_sha256
from stfed.sealed.locking import check_named, locked
from stfed.sealed.openrequest import OpenRequest
from stfed.sealed.options import OpenOptions
from stfed.sealed.outside import Outside, read_outside
from stfed.sealed.recipients import PASSPHRASE_KIND, wrap
from stfed.sealed.times import Clock, system_clock
from stfed.sealed.trail import trail


def grant(
    path: PathLike,
    *,
    recipients: RecipientLike | Iterable[RecipientLike],
    signer: SignerLike,
    clock: Clock = system_clock,
    **options: Unpack[OpenOptions],
) -> tuple[Recipient, ...]:
    """Lets further recipients open a signed file. Constant time on a file of any size; all of them or, at a crash, the first few.

    Args:
        path: the sealed file; the one place it is written to is the envelope slot that is not in use.
        recipients: public keys of the kind the file is sealed to. Who can open it already is left out.
        signer: signing key of an owner: one of the file's signers, or an owner its policy names.
        clock: what time it is.
        options: how the granter opens the file; the key that is passed on has to come from somewhere.

    Returns:
        Those who were given access now.

    Raises:
        AccessDeniedError: if `signer` is no owner.
        LocalError: if the file is unsigned or sealed under a passphrase, a key is of the wrong kind, or the slot has no more room.
        SealError: if the granter cannot open the file.
    """
    key = read_signer(signer)
    request = OpenRequest(**options)
    with trail(request.audit) as log, about(path), opened(path, writable=True) as descriptor, locked(descriptor, path):
        file = File(descriptor)
        outside = read_outside(file)
        with log.failures(Kind.OPEN_FAILED, path, lambda: outside.envelope.manifest, actor=lambda: key.public.fingerprint, wanted="grant"):
            envelope, context = outside.envelope, outside.envelope.manifest.context
            _refuse(envelope)
            now = clock()
            trusted = request.admit(envelope, now)
            if key.public not in (*context.signers, *context.policy.owners):
                raise AccessDeniedError(f"{key.public.fingerprint} is no owner of the file and cannot grant", rule="owners")
            file_key, _ = request.obtain(envelope, now)
            sealed = statements.decrypt(context.sealed, file_key, context.file_id)
            request.check_stated(envelope.manifest.sha256, trusted, statements.merged(context.public, sealed), now)
        chosen = tuple(one for one in read_recipients(recipients) if not _has_access(envelope, one, key.public))
        for recipient in chosen:
            if recipient.kind.name != envelope.recipients[0].kind:
                raise LocalError(
                    f"{recipient.fingerprint} is an {recipient.kind.nickname} key, the file is sealed to keys of another kind",
                    hint="one file has one kind of recipient",
                )
        for recipient in chosen:
            (stanza,) = wrap(file_key, [recipient], context.key_info)
            made = Grant.make(envelope.manifest, envelope.chain_sha256, envelope.generation + 1, recipient, stanza, key, now)
            envelope = envelope.granted(made)
            _check_room(envelope)
            log.note(
                Kind.GRANT, path, envelope.manifest, actor=key.public.fingerprint, recipients=recipient.fingerprint,
                generation=envelope.generation,
            )  # fmt: skip
            _write(file, descriptor, outside, envelope)
            check_named(descriptor, path)
        return chosen


def _has_access(envelope: Envelope, recipient: Recipient, granter: VerifyingKey) -> bool:
    """Whether a grant would add nothing. One by another owner may hold nothing, and only the recipient could tell."""
    return envelope.addresses(recipient) or any(one.granter == key_sha256(granter) for one in envelope.grants_to(recipient))


def _refuse(envelope: Envelope) -> None:
    if not envelope.signatures:
        raise LocalError(
            "an unsigned file takes no grants: it has no owner", hint="seal it anew for everybody, or have it signed from the start"
        )
    if envelope.recipients[0].kind == PASSPHRASE_KIND:
        raise LocalError("a file under a passphrase takes no grants", hint="give away the passphrase, or seal it to public keys")


def _check_room(envelope: Envelope) -> None:
    if not fits(len(envelope.encode()), envelope.manifest.layout.slot_bytes):
        raise LocalError(
            f"there is no room for another grant in the envelope's {envelope.manifest.layout.slot_bytes} bytes",
            hint="`stfed reseal` writes the file anew, with room",
        )


def _write(file: File, descriptor: int, outside: Outside, envelope: Envelope) -> None:
    """Generation 1 lies in slot A, 2 in B, 3 in A again, unless a damaged slot came between: the live one is never written."""
    live = outside.slots.index("live")
    steps = envelope.generation - outside.envelope.generation
    slot = (live + steps) % 2
    size_bytes = envelope.manifest.layout.slot_bytes
    file.write_at(HEADER_BYTES + slot * size_bytes, Slot(envelope.generation, envelope.encode()).encode(size_bytes))
    os.fsync(descriptor)
