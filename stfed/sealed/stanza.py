"""A stanza: the file key, wrapped for one recipient, as it stands in the envelope."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from stfed import canonical
from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.sealed.fields import from_base64, hexadecimal, only_fields, text, to_base64

TAG_BYTES = 8


@dataclass(frozen=True)
class Stanza:
    """The file key, wrapped for one recipient.

    Attributes:
        kind: how: "mlkem768x25519", "x25519" or "argon2id".
        tag: 8 bytes by which whoever knows the recipient's public key, and nobody else, sees whom it is for; zeros for a passphrase.
        body: what the kind needs.
    """

    kind: str
    tag: bytes
    body: bytes

    def to_json(self) -> dict[str, str]:
        """As it stands in the envelope."""
        return {"kind": self.kind, "tag": self.tag.hex(), "body": to_base64(self.body)}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` gave; kind and length are checked by who knows kinds."""
        parts = only_fields(value, "a recipient", "kind", "tag", "body")
        body = from_base64(parts["body"], "a recipient's body")
        return cls(text(parts["kind"], "a recipient's kind"), hexadecimal(parts["tag"], TAG_BYTES, "a recipient's tag"), body)

    @property
    def sha256(self) -> bytes:
        """Hash of its canonical JSON."""
        return hashlib.sha256(canonical.encode(self.to_json())).digest()


def recipients_sha256(recipients: Iterable[Stanza]) -> bytes:
    """Hash of a recipient list, by which the manifest refers to it."""
    return digest(Label.SEALED_RECIPIENTS, canonical.encode([stanza.to_json() for stanza in recipients]))
