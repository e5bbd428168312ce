"""Grants: access given after sealing, by an owner, without touching the payload.

Each grant is signed over the file, the manifest, its own place in the chain (the hash of what was before it), the recipient's key and
the exact stanza. So none can be moved to another file, dropped from the middle, reordered or made by somebody who is no owner.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from stfed import canonical
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.keys.encryption import Recipient
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.sealed import times
from stfed.sealed.errors import AccessDeniedError, TamperedError
from stfed.sealed.fields import from_base64, hexadecimal, only_fields, to_base64
from stfed.sealed.manifest import Manifest
from stfed.sealed.stanza import Stanza
from stfed.wire import Writer

_HASH_BYTES = 32


def key_sha256(key: Recipient | VerifyingKey) -> bytes:
    """How a grant names a key: SHA-256 of the key as it is written. Its first 80 bits are the key's fingerprint."""
    return hashlib.sha256(str(key).encode("ascii")).digest()


@dataclass(frozen=True)
class Grant:
    """One of them.

    Attributes:
        granter: `key_sha256` of the owner's signing key.
        recipient: `key_sha256` of the public key that may open the file now.
        stanza: the file key, wrapped for it.
        time: when, by the granter's clock.
        previous: hash of the chain before: of the manifest for the first, else of the grant before with its own `previous`.
        signature: the granter's.
    """

    granter: bytes
    recipient: bytes
    stanza: Stanza
    time: datetime
    previous: bytes
    signature: bytes

    @classmethod
    def make(
        cls, manifest: Manifest, previous: bytes, generation: int, recipient: Recipient, stanza: Stanza, signer: SigningKey, now: datetime
    ) -> Self:
        """A signed grant."""
        now = times.whole_seconds(now)
        draft = cls(key_sha256(signer.public), key_sha256(recipient), stanza, now, previous, b"")
        signature = signer.sign(Label.SEALED_GRANT, *draft._signed(manifest, generation, signer.public))
        return cls(draft.granter, draft.recipient, stanza, now, previous, signature)

    def _signed(self, manifest: Manifest, generation: int, granter: VerifyingKey) -> tuple[bytes, ...]:
        return (
            manifest.context.file_id,
            manifest.sha256,
            Writer().u64(generation).getvalue(),
            self.previous,
            self.recipient,
            self.stanza.sha256,
            str(granter).encode("ascii"),
            times.written(self.time).encode("ascii"),
        )

    def check(self, manifest: Manifest, previous: bytes, generation: int) -> None:
        """Returns if an owner of the file granted exactly this, at exactly this place of the chain.

        Raises:
            AccessDeniedError: if the granter is no owner; its rule is "owners".
            TamperedError: if the signature or the place is not right.
        """
        owners = {key_sha256(key): key for key in (*manifest.context.signers, *manifest.context.policy.owners)}
        if self.granter not in owners:
            raise AccessDeniedError(f"grant {generation - 1} was not made by an owner of the file", rule="owners")
        if self.previous != previous:
            raise TamperedError(f"grant {generation - 1} does not follow what was before it")
        try:
            owners[self.granter].verify(self.signature, Label.SEALED_GRANT, *self._signed(manifest, generation, owners[self.granter]))
        except BadSignatureError:
            raise TamperedError(f"the signature of grant {generation - 1} does not verify") from None

    @property
    def sha256(self) -> bytes:
        """Hash of the chain up to and with this grant, which the next one names. Linear, so that long chains are checked quickly."""
        return digest(Label.SEALED_CHAIN, self.previous, canonical.encode(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "granter": self.granter.hex(),
            "recipient": self.recipient.hex(),
            "stanza": self.stanza.to_json(),
            "time": times.written(self.time),
            "previous": self.previous.hex(),
            "signature": to_base64(self.signature),
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` gave, or MalformedError, UnsupportedError."""
        parts = only_fields(value, "a grant", "granter", "recipient", "stanza", "time", "previous", "signature")
        return cls(
            hexadecimal(parts["granter"], _HASH_BYTES, "a grant's granter"),
            hexadecimal(parts["recipient"], _HASH_BYTES, "a grant's recipient"),
            Stanza.from_json(parts["stanza"]),
            times.read(parts["time"], "a grant's time"),
            hexadecimal(parts["previous"], _HASH_BYTES, "a grant's previous hash"),
            from_base64(parts["signature"], "a grant's signature"),
        )
