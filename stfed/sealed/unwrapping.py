"""From an envelope to the file key, by an own key, a passphrase or a key service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag

from stfed.errors import LocalError
from stfed.keys.encryption import FILE_KEY_BYTES, Identity, Recipient
from stfed.keys.passphrase import Passphrase
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import NotARecipientError, TamperedError
from stfed.sealed.grants import Grant
from stfed.sealed.recipients import PASSPHRASE_KIND, is_for, unwrap, unwrap_passphrase


class KeyService(Protocol):
    """Where a file key can be had by those whom the file's policy allows; `stfed.keyserver.client` has the one there is."""

    @property
    def caller(self) -> str:
        """Fingerprint of the key that the caller proves to be."""
        ...

    def file_key(self, envelope: Envelope, purpose: str | None) -> bytes:
        """The file key, or an error that names the rule by which it is refused."""
        ...


@dataclass(frozen=True)
class Access:
    """How a reader came to the file key.

    Attributes:
        how: "addressed", "granted", "passphrase" or "key service".
        recipient: the key that it was wrapped for, if it was an own one.
        service: fingerprint of the key by which a key service knows the reader, if it came from one.
        grant: the one that gave access, if it was one.
    """

    how: str
    recipient: Recipient | None = None
    service: str = ""
    grant: Grant | None = None

    @property
    def who(self) -> str:
        """Fingerprint of the reader's key; empty for a passphrase."""
        return self.service if self.recipient is None else self.recipient.fingerprint


def obtain(
    envelope: Envelope,
    identities: Sequence[Identity],
    passphrase: Passphrase | None,
    service: KeyService | None,
    purpose: str | None,
) -> tuple[bytes, Access]:
    """The file key and how it was come by: by the first of the three that was given and fits the file.

    Raises:
        NotARecipientError: if none is for this file.
        TamperedError: if one is, and what it opens was changed.
        SealError: from the key service, with the rule by which it refuses.
        LocalError: if nothing was given.
    """
    info = envelope.manifest.context.key_info
    if envelope.recipients[0].kind == PASSPHRASE_KIND and passphrase is not None:
        return _whole(unwrap_passphrase(envelope.recipients[0], passphrase, info)), Access("passphrase")
    if identities:
        try:
            return _own(envelope, identities, info)
        except NotARecipientError:
            if service is None:
                raise
    if service is not None:
        return _whole(service.file_key(envelope, purpose)), Access("key service", service=service.caller)
    if passphrase is not None:
        raise NotARecipientError("the file is sealed to public keys, not under a passphrase", hint="give the secret key of a recipient")
    raise LocalError("nothing was given to open the file with", hint="identity=..., passphrase=... or service=...")


def _own(envelope: Envelope, identities: Sequence[Identity], info: bytes) -> tuple[bytes, Access]:
    """By an own key: as one the file was sealed to, else by a grant. A grant that does not open is an owner's fault and not the end."""
    try:
        file_key, index = unwrap(envelope.recipients, identities, info)
    except NotARecipientError:
        granted = _granted(envelope, identities, info)
        if granted is None:
            raise
        return granted
    recipient = next(one.recipient for one in identities if is_for(envelope.recipients[index], one.recipient))
    return _whole(file_key), Access("addressed", recipient)


def _granted(envelope: Envelope, identities: Sequence[Identity], info: bytes) -> tuple[bytes, Access] | None:
    """By a grant; None if none names a key at hand."""
    failed = 0
    for identity in identities:
        for grant in envelope.grants_to(identity.recipient):
            try:
                return _whole(identity.decrypt(grant.stanza.body, info)), Access("granted", identity.recipient, grant=grant)
            except (InvalidTag, ValueError):
                failed += 1
    if failed:
        raise TamperedError(f"{failed} grants name the key at hand and hold nothing for it", hint="have an owner grant access anew")
    return None


def _whole(file_key: bytes) -> bytes:
    if len(file_key) != FILE_KEY_BYTES:
        raise TamperedError(f"the file key has {len(file_key)} bytes")
    return file_key
