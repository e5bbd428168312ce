"""A file key wrapped for its recipients: HPKE (RFC 9180), base mode, one stanza each; or under a passphrase. No input or output.

The KDF is HKDF-SHA256 and the AEAD ChaCha20-Poly1305, as in age's own hybrid stanza, so that age's test vectors exercise this very code.
One file takes one kind of key only: the weaker one would decide for all. A passphrase (Argon2id, RFC 9106) stands alone, as in age.

A stanza carries a tag, an HMAC of its encapsulated key under the recipient's public key. It tells a reader exactly which stanza is its own,
so that "not for me" and "for me, but changed" are different errors, and tells nothing to somebody who does not know the public key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag

from stfed.crypto import aead, kdf
from stfed.crypto.kdf import DIGEST_BYTES, equal, framed
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy
from stfed.errors import LocalError, MalformedError, shown
from stfed.keys.encryption import FILE_KEY_BYTES, KINDS, Identity, Recipient
from stfed.keys.passphrase import RECOMMENDED, SALT_BYTES, Cost, Passphrase, derive
from stfed.sealed.bounds import RECIPIENTS_MAX
from stfed.sealed.errors import NotARecipientError, TamperedError, WrongPassphraseError
from stfed.sealed.fields import unknown
from stfed.sealed.stanza import TAG_BYTES, Stanza
from stfed.wire import Reader, Writer

PASSPHRASE_KIND = "argon2id"  # noqa: S105 - the name of a kind, no secret
_PASSPHRASE_BODY_BYTES = 3 * 4 + SALT_BYTES + DIGEST_BYTES + FILE_KEY_BYTES + aead.TAG_BYTES
_BODY_BYTES = {**{kind.name: kind.body_bytes for kind in KINDS.values()}, PASSPHRASE_KIND: _PASSPHRASE_BODY_BYTES}


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
    return hmac.digest(recipient.public, framed(Label.SEALED_STANZA_TAG, encapsulated), "sha256")[:TAG_BYTES]


def is_for(stanza: Stanza, recipient: Recipient) -> bool:
    """Whether the stanza is marked as this recipient's. Needs no secret, and proves nothing about what is in it."""
    if stanza.kind != recipient.kind.name:
        return False
    return equal(stanza.tag, stanza_tag(recipient, stanza.body[: recipient.kind.encapsulated_bytes]))


def wrap_passphrase(file_key: bytes, passphrase: Passphrase, info: bytes, entropy: Entropy, cost: Cost = RECOMMENDED) -> Stanza:
    """The file key under a passphrase. The key for it is new with its salt and serves once, so its nonce is zero."""
    cost.check_floor()
    salt = entropy(SALT_BYTES)
    key, commitment = _passphrase_keys(passphrase, salt, cost)
    wrapped = aead.seal(key, bytes(aead.NONCE_BYTES), file_key, info)
    head = Writer().u32(cost.memory_kib).u32(cost.iterations).u32(cost.lanes).fixed(salt, SALT_BYTES).getvalue()
    return Stanza(PASSPHRASE_KIND, bytes(TAG_BYTES), head + commitment + wrapped)


def unwrap_passphrase(stanza: Stanza, passphrase: Passphrase, info: bytes) -> bytes:
    """The file key. The cost in the stanza is held against its ceilings before any of it is spent.

    Raises:
        WrongPassphraseError: if it is another passphrase, as the commitment tells.
        TamperedError: if it is this one and the file key does not open: the stanza or something bound into `info` was changed.
    """
    cost, salt, commitment, wrapped = _passphrase_parts(stanza)
    key, expected = _passphrase_keys(passphrase, salt, cost)
    if not equal(commitment, expected):
        raise WrongPassphraseError("the passphrase does not open the file", hint="it is another one, or the file was changed")
    try:
        return aead.open_(key, bytes(aead.NONCE_BYTES), wrapped, info)
    except aead.AuthenticationError:
        raise TamperedError("the entry for the passphrase does not open: the envelope was changed after sealing") from None


def _passphrase_keys(passphrase: Passphrase, salt: bytes, cost: Cost) -> tuple[bytes, bytes]:
    """The key that wraps, and the commitment to it. GCM alone commits to no key: a planted file could open under many passphrases at
    once, and how a reader refuses would tell which of them is theirs (Len, Grubbs and Ristenpart, "Partitioning Oracle Attacks", 2021)."""
    stretched = derive(passphrase, salt, cost)
    return kdf.derive(stretched, Label.SEALED_PASSPHRASE, b"key"), kdf.derive(stretched, Label.SEALED_PASSPHRASE, b"commitment")


def _passphrase_parts(stanza: Stanza) -> tuple[Cost, bytes, bytes, bytes]:
    reader = Reader(stanza.body, "passphrase recipient")
    cost = Cost(reader.u32("memory"), reader.u32("iterations"), reader.u32("lanes"))
    salt, commitment = reader.fixed(SALT_BYTES, "salt"), reader.fixed(DIGEST_BYTES, "commitment")
    return cost, salt, commitment, reader.fixed(reader.remaining, "wrapped key")


def check_stanzas(stanzas: Sequence[Stanza]) -> None:
    """Refuses a recipient list that no writer of ours makes.

    The body's length is checked before anything is decrypted: a longer body could be made to open under several keys.

    Raises:
        UnsupportedError: for a kind that is unknown.
        MalformedError: for a body of a wrong length or cost, several kinds in one file, or a passphrase beside anything else.
    """
    kinds = set()
    for stanza in stanzas:
        if stanza.kind not in _BODY_BYTES:
            raise unknown(f"a recipient of kind {shown(stanza.kind)}")
        if len(stanza.body) != _BODY_BYTES[stanza.kind]:
            raise MalformedError(f"a recipient of kind {stanza.kind} has a body of {len(stanza.body)} bytes")
        kinds.add(stanza.kind)
    if len(kinds) > 1:
        raise MalformedError("the file mixes kinds of recipients, which no writer of ours does")
    if PASSPHRASE_KIND in kinds:
        if len(stanzas) > 1 or any(stanzas[0].tag):
            raise MalformedError("a passphrase stands alone, with an empty tag")
        _passphrase_parts(stanzas[0])


def unwrap(stanzas: Sequence[Stanza], identities: Sequence[Identity], info: bytes) -> tuple[bytes, int]:
    """The file key, and which stanza gave it, through whichever identity one is for.

    Raises:
        NotARecipientError: if no stanza is for any of `identities`.
        TamperedError: if one is, and does not open: it, or something bound into `info`, was changed.
    """
    for identity in identities:
        recipient = identity.recipient
        for index, stanza in enumerate(stanzas):
            if is_for(stanza, recipient):
                try:
                    return identity.decrypt(stanza.body, info), index
                except (InvalidTag, ValueError):
                    raise TamperedError(
                        f"the entry for {recipient.fingerprint} does not open: the envelope was changed after sealing"
                    ) from None
    held = ", ".join(f"{identity.recipient.fingerprint} ({identity.kind.nickname})" for identity in identities)
    if stanzas[0].kind == PASSPHRASE_KIND:
        raise NotARecipientError(f"the file is sealed under a passphrase, not to {held}", hint="give the passphrase")
    raise NotARecipientError(
        f"the file is sealed to {len(stanzas)} {KINDS[stanzas[0].kind].nickname} key{'s'[: len(stanzas) - 1]} and not to {held}",
        hint="use the secret key of one of its recipients, or have it sealed to you",
    )
