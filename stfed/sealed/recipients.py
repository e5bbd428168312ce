"""A file key wrapped for its recipients: HPKE (RFC 9180), base mode, one stanza each. No input or output.

The KDF is HKDF-SHA256 and the AEAD ChaCha20-Poly1305, as in age's own hybrid stanza, so that age's test vectors exercise this very code.
One file takes one kind of key only: the weaker one would decide for all.

A stanza carries a tag, an HMAC of its encapsulated key under the recipient's public key. It tells a reader exactly which stanza is its own,
so that "not for me" and "for me, but changed" are different errors, and tells nothing to somebody who does not know the public key.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag

from stfed.errors import LocalError
from stfed.sealed.bounds import RECIPIENTS_MAX
from stfed.sealed.envelope import TAG_BYTES, Stanza
from stfed.sealed.errors import MalformedError, NotARecipientError, TamperedError, shown
from stfed.sealed.format import unknown
from stfed.sealed.keys import KINDS, Identity, Recipient


def check_recipients(recipients: Sequence[Recipient]) -> None:
    """Refuses, with LocalError, a list that no file may be sealed to: empty, too long, or of both kinds."""
    if not recipients:
        raise LocalError("no recipient: nobody could ever open this file", hint="name at least one public key")
    if len(recipients) > RECIPIENTS_MAX:
        raise LocalError(f"{len(recipients)} recipients, at most {RECIPIENTS_MAX} are allowed")
    if len({recipient.kind.name for recipient in recipients}) > 1:
        raise LocalError(
            "hybrid and x25519 recipients in one file: it would be no safer from a quantum computer than the x25519 ones",
            hint="seal one file for each kind, or give everybody a hybrid key",
        )


def wrap(file_key: bytes, recipients: Sequence[Recipient], info: bytes) -> tuple[Stanza, ...]:
    """The file key for each of `recipients`, in their order. HPKE draws its randomness from the operating system."""
    return tuple(_wrap_one(file_key, recipient, info) for recipient in recipients)


def _wrap_one(file_key: bytes, recipient: Recipient, info: bytes) -> Stanza:
    try:
        body = recipient.kind.suite.encrypt(file_key, recipient.kind.public(recipient.public), info=info)
    except ValueError:  # an ML-KEM key out of range, an X25519 point of low order
        raise LocalError(f"the public key {recipient.fingerprint} is not usable", hint="ask its owner for it again") from None
    return Stanza(recipient.kind.name, stanza_tag(recipient, body[: recipient.kind.encapsulated_bytes]), body)


def stanza_tag(recipient: Recipient, encapsulated: bytes) -> bytes:
    """What marks a stanza as `recipient`'s, for those who know its public key."""
    return hmac.digest(recipient.public, encapsulated, "sha256")[:TAG_BYTES]


def check_stanzas(stanzas: Iterable[Stanza]) -> None:
    """Refuses a recipient list that no writer of ours makes.

    The body's length is checked before anything is decrypted: a longer body could be made to open under several keys.

    Raises:
        UnsupportedError: for a kind that is unknown.
        MalformedError: for a body of a wrong length, or both kinds in one file.
    """
    kinds = set()
    for stanza in stanzas:
        if stanza.kind not in KINDS:
            raise unknown(f"a recipient of kind {shown(stanza.kind)}")
        if len(stanza.body) != KINDS[stanza.kind].body_bytes:
            raise MalformedError(f"a recipient of kind {stanza.kind} has a body of {len(stanza.body)} bytes")
        kinds.add(stanza.kind)
    if len(kinds) > 1:
        raise MalformedError("the file mixes hybrid and x25519 recipients, which no writer of ours does")


def unwrap(stanzas: Sequence[Stanza], identities: Sequence[Identity], info: bytes) -> bytes:
    """The file key, through whichever identity a stanza is for.

    Raises:
        NotARecipientError: if no stanza is for any of `identities`.
        TamperedError: if one is, and does not open: it, or something bound into `info`, was changed.
    """
    check_stanzas(stanzas)
    for identity in identities:
        recipient = identity.recipient
        for stanza in stanzas:
            encapsulated = stanza.body[: identity.kind.encapsulated_bytes]
            if stanza.kind == identity.kind.name and hmac.compare_digest(stanza.tag, stanza_tag(recipient, encapsulated)):
                try:
                    return identity.decrypt(stanza.body, info)
                except (InvalidTag, ValueError):
                    raise TamperedError(
                        f"the entry for {recipient.fingerprint} does not open: the envelope was changed after sealing"
                    ) from None
    held = ", ".join(f"{identity.recipient.fingerprint} ({identity.kind.nickname})" for identity in identities)
    raise NotARecipientError(
        f"the file is sealed to {len(stanzas)} {KINDS[stanzas[0].kind].nickname} key{'s'[: len(stanzas) - 1]} and not to {held}",
        hint="use the secret key of one of its recipients, or have it sealed to you",
    )
