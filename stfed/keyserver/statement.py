"""What a caller signs: for which service, file and purpose a key is asked, and which one-time key it is to be sent to.

Canonical JSON, small, and apart from the envelope that it is about, so that a stranger's envelope is never parsed. It names the service, so
that a request made for one is none for another, and the envelope's hash, which covers manifest, stanzas and grants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Self

from stfed import canonical
from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.errors import MalformedError, shown
from stfed.keys.encryption import HYBRID, Recipient
from stfed.keys.signing import VerifyingKey
from stfed.sealed import times
from stfed.sealed.bounds import PURPOSE_MAX_CHARACTERS
from stfed.sealed.fields import hexadecimal, text, whole
from stfed.sealed.format import FILE_ID_BYTES, Layout
from stfed.sealed.suites import suite_named

VERSION: Final = 1
NONCE_BYTES: Final = 32

_HASH_BYTES = 32
_LENGTH_MAX = (1 << 53) - 1
_NAMES = {
    "caller", "envelope_sha256", "file_id", "layout", "manifest_sha256", "nonce", "purpose", "reply_to", "service", "time", "version",
}  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """What a caller signs.

    Attributes:
        service: hash of the service's public signing key as it is written.
        nonce: from the service's challenge.
        time: by the caller's clock.
        caller: the caller's public signing key.
        reply_to: hybrid public key, made for this request.
        purpose: what the file is opened for.
        layout: what the file's header says: suite, file id and lengths.
        manifest_sha256: the manifest's hash.
        envelope_sha256: SHA-256 of the envelope's bytes.
    """

    service: bytes
    nonce: bytes
    time: datetime
    caller: VerifyingKey
    reply_to: Recipient
    purpose: str | None
    layout: Layout
    manifest_sha256: bytes
    envelope_sha256: bytes

    @cached_property
    def encoded(self) -> bytes:
        """Its canonical JSON: what is signed."""
        layout = self.layout
        return canonical.encode(
            {
                "version": VERSION,
                "service": self.service.hex(),
                "nonce": self.nonce.hex(),
                "time": times.written(self.time),
                "caller": str(self.caller),
                "reply_to": str(self.reply_to),
                "purpose": self.purpose,
                "file_id": layout.file_id.hex(),
                "layout": {
                    "suite": layout.suite.name,
                    "slot_bytes": layout.slot_bytes,
                    "payload_bytes": layout.payload_bytes,
                    "digests_bytes": layout.digests_bytes,
                },
                "manifest_sha256": self.manifest_sha256.hex(),
                "envelope_sha256": self.envelope_sha256.hex(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads what `encoded` is; SealError if it is anything else, or lengths that no file of ours has."""
        value = fields_of(data, "the statement", _NAMES)
        caller, reply_to = (
            VerifyingKey.from_string(text(value["caller"], "caller")),
            Recipient.from_string(text(value["reply_to"], "reply_to")),
        )
        if reply_to.kind is not HYBRID:
            raise MalformedError("the key to reply to is not hybrid")
        if value["purpose"] is not None and not is_purpose(value["purpose"]):
            raise MalformedError(f"{shown(value['purpose'])} is no purpose")
        statement = cls(
            hexadecimal(value["service"], _HASH_BYTES, "service"),
            hexadecimal(value["nonce"], NONCE_BYTES, "nonce"),
            times.read(value["time"], "time"),
            caller,
            reply_to,
            value["purpose"],
            _layout(value["layout"], hexadecimal(value["file_id"], FILE_ID_BYTES, "file_id")),
            hexadecimal(value["manifest_sha256"], _HASH_BYTES, "manifest_sha256"),
            hexadecimal(value["envelope_sha256"], _HASH_BYTES, "envelope_sha256"),
        )
        if statement.encoded != data:  # keys in capitals, true for 1
            raise MalformedError("the statement is not in canonical form")
        return statement

    @cached_property
    def sha256(self) -> bytes:
        """The request's hash, which the reply names."""
        return digest(Label.KEY_REQUEST, self.encoded)


def is_purpose(value: Any) -> bool:
    """Whether a policy could name this as a purpose."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= PURPOSE_MAX_CHARACTERS


def fields_of(data: bytes, what: str, names: set[str]) -> dict[str, Any]:
    """A message with exactly these fields and our version."""
    value: Any = canonical.decode(data, what)
    if not isinstance(value, dict) or type(value.get("version")) is not int or value["version"] != VERSION:
        raise MalformedError(f"{what} is of a version that is not known", hint="a newer stfed may read it")
    if value.keys() != names:
        raise MalformedError(f"{what} has not the fields {', '.join(sorted(names))}")
    return value


def _layout(value: Any, file_id: bytes) -> Layout:
    """The layout, held against everything that a reader holds a file's header against."""
    if not isinstance(value, dict) or value.keys() != {"suite", "slot_bytes", "payload_bytes", "digests_bytes"}:
        raise MalformedError("the layout is not one")
    lengths = [whole(value[name], name, _LENGTH_MAX) for name in ("slot_bytes", "payload_bytes", "digests_bytes")]
    layout = Layout(suite_named(value["suite"]), file_id, *lengths)
    return Layout.parse(layout.header(), layout.file_bytes)
