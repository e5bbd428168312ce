"""The envelope: who can open the file, and what its writer states about it. Canonical JSON, one per slot; knows no key.

    version, suite, file_id
    recipients    one stanza each: the file key, wrapped
    policy        {}: conditions of use, from a later version on
    manifest      lengths, hashes and provenance: what a signature will cover
    signatures    [], grants []: from a later version on

An unsigned envelope is readable by everybody and protected only as far as opening depends on it: `key_info` and `payload_ad` feed it into
the key wrapping and the payload encryption, so that a file with an edited envelope does not open. Whoever holds the file key could still
make a new file with other statements; only a signature says who stated them. What this version does not know it refuses, skipping nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from stfed.crypto.kdf import digest, framed
from stfed.crypto.labels import Label
from stfed.errors import LocalError
from stfed.sealed import canonical
from stfed.sealed.bounds import INTEGER_MAX, PROVENANCE_MAX_BYTES, RECIPIENTS_MAX, SEGMENT_MAX_BYTES, SEGMENT_MIN_BYTES
from stfed.sealed.errors import MalformedError, TamperedError, shown
from stfed.sealed.format import SUITE, VERSION, Layout, fields, hexadecimal, only_fields, unknown
from stfed.wire import Writer

TAG_BYTES = 8
_UNSIGNED = b"unsigned"

Scalar = str | int | float | bool | None
Provenance = Mapping[str, Scalar]


@dataclass(frozen=True)
class Stanza:
    """The file key, wrapped for one recipient.

    Attributes:
        kind: name of the key encapsulation mechanism.
        tag: 8 bytes by which whoever knows the recipient's public key, and nobody else, sees that the stanza is for it.
        body: encapsulated key and ciphertext, as HPKE (RFC 9180) makes them.
    """

    kind: str
    tag: bytes
    body: bytes

    def to_json(self) -> dict[str, str]:
        """As it stands in the envelope."""
        return {"kind": self.kind, "tag": self.tag.hex(), "body": base64.b64encode(self.body).decode("ascii")}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` gave; the kind is checked by who knows kinds."""
        parts = only_fields(value, "a recipient", "kind", "tag", "body")
        if not isinstance(parts["kind"], str) or not isinstance(parts["body"], str):
            raise MalformedError("a recipient has a field of a wrong type")
        try:
            body = base64.b64decode(parts["body"], validate=True)
        except (binascii.Error, ValueError):
            raise MalformedError("a recipient's body is not base64") from None
        if base64.b64encode(body).decode("ascii") != parts["body"]:
            raise MalformedError("a recipient's body is not canonical base64")
        return cls(parts["kind"], hexadecimal(parts["tag"], TAG_BYTES, "a recipient's tag"), body)


def recipients_sha256(recipients: tuple[Stanza, ...]) -> bytes:
    """Hash of the recipient list as it stands in the envelope."""
    return hashlib.sha256(canonical.encode([stanza.to_json() for stanza in recipients])).digest()


@dataclass(frozen=True)
class Envelope:
    """What a slot of an unsigned file holds.

    Attributes:
        layout: file id and lengths, as in the header.
        segment_bytes: length of a payload segment.
        provenance: what the writer states about the content.
        recipients: one stanza each.
        floe_header_sha256: hash of the payload's first 74 bytes.
    """

    layout: Layout
    segment_bytes: int
    provenance: Provenance
    recipients: tuple[Stanza, ...]
    floe_header_sha256: bytes

    def encode(self) -> bytes:
        """Its canonical JSON."""
        return canonical.encode(
            {
                "version": VERSION,
                "suite": SUITE,
                "file_id": self.layout.file_id.hex(),
                "recipients": [stanza.to_json() for stanza in self.recipients],
                "policy": {},
                "manifest": {
                    "slot_bytes": self.layout.slot_bytes,
                    "segment_bytes": self.segment_bytes,
                    "payload_bytes": self.layout.payload_bytes,
                    "floe_header_sha256": self.floe_header_sha256.hex(),
                    "recipients_sha256": recipients_sha256(self.recipients).hex(),
                    "digests": None,
                    "signers": [],
                    "provenance": dict(self.provenance),
                },
                "signatures": [],
                "grants": [],
            }
        )

    @classmethod
    def decode(cls, data: bytes, layout: Layout) -> Self:
        """Reads an envelope and holds it against the header.

        Raises:
            MalformedError: if it is not canonical, has a value out of bounds, or contradicts the header.
            UnsupportedError: if version, suite or a field is unknown, or it has signatures, digests, grants or a policy.
            TamperedError: if the recipient list is not the one that the manifest names.
        """
        value = fields(canonical.decode(data, "the envelope"), "the envelope", "version", "suite")
        if (value["version"], value["suite"]) != (VERSION, SUITE):
            raise unknown(f"an envelope of version {shown(value['version'])} and suite {shown(value['suite'])}")
        only_fields(value, "the envelope", "version", "suite", "file_id", "recipients", "policy", "manifest", "signatures", "grants")
        manifest = only_fields(
            value["manifest"], "the manifest", "slot_bytes", "segment_bytes", "payload_bytes", "floe_header_sha256",
            "recipients_sha256", "digests", "signers", "provenance",
        )  # fmt: skip
        _refuse_later_parts(value, manifest)
        if (value["file_id"], manifest["slot_bytes"], manifest["payload_bytes"]) != (
            layout.file_id.hex(),
            layout.slot_bytes,
            layout.payload_bytes,
        ):
            raise MalformedError("header and envelope name different file ids or lengths")
        recipients = value["recipients"]
        if not isinstance(recipients, list) or not 1 <= len(recipients) <= RECIPIENTS_MAX:
            raise MalformedError(f"the envelope has not between 1 and {RECIPIENTS_MAX} recipients")
        problem = segment_bytes_problem(manifest["segment_bytes"]) or provenance_problem(manifest["provenance"])
        if problem:
            raise MalformedError(problem)
        envelope = cls(
            layout,
            manifest["segment_bytes"],
            manifest["provenance"],
            tuple(Stanza.from_json(stanza) for stanza in recipients),
            hexadecimal(manifest["floe_header_sha256"], 32, "the manifest's FLOE header hash"),
        )
        if recipients_sha256(envelope.recipients).hex() != manifest["recipients_sha256"]:
            raise TamperedError("the recipient list is not the one that the file was sealed with")
        if envelope.encode() != data:  # true for 1, 1.0 for 1: equal values, other bytes
            raise MalformedError("the envelope is not in canonical form")
        return envelope


def key_info(layout: Layout, provenance: Provenance) -> bytes:
    """HPKE's `info`: a stanza opens only under this file id, policy and provenance, and only as long as the file is unsigned."""
    return framed(Label.SEALED_FILE_KEY, *_context(layout, provenance))


def payload_ad(layout: Layout, provenance: Provenance, segment_bytes: int, recipients: tuple[Stanza, ...]) -> bytes:
    """FLOE's associated data: the same, every length, and the recipient list."""
    lengths = Writer().u64(layout.slot_bytes).u64(segment_bytes).u64(layout.payload_bytes).getvalue()
    return framed(Label.SEALED_PAYLOAD, *_context(layout, provenance), lengths, recipients_sha256(recipients))


def _context(layout: Layout, provenance: Provenance) -> tuple[bytes, ...]:
    policy = digest(Label.SEALED_POLICY, canonical.encode({}))
    stated = hashlib.sha256(canonical.encode(dict(provenance))).digest()
    return str(VERSION).encode(), SUITE.encode(), layout.file_id, policy, stated, _UNSIGNED


def _refuse_later_parts(value: dict[str, Any], manifest: dict[str, Any]) -> None:
    for name, part, none in (
        ("a policy", value["policy"], {}),
        ("signatures", value["signatures"], []),
        ("grants", value["grants"], []),
        ("signers", manifest["signers"], []),
        ("segment digests", manifest["digests"], None),
    ):
        if part != none:
            raise unknown(name)


def segment_bytes_problem(value: Any) -> str | None:
    """What is wrong with a segment length, if anything."""
    if type(value) is int and SEGMENT_MIN_BYTES <= value <= SEGMENT_MAX_BYTES:
        return None
    return f"the segment length is not between {SEGMENT_MIN_BYTES} and {SEGMENT_MAX_BYTES} bytes"


def provenance_problem(value: Any) -> str | None:
    """What is wrong with a provenance, if anything: it is flat, its values are scalars, its size is bounded."""
    if not isinstance(value, Mapping):
        return "the provenance is not a flat mapping"
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str | int | float | bool | None):
            return f"the provenance entry {shown(key)} is not text, a number, a boolean or null"
        if isinstance(item, int) and abs(item) > INTEGER_MAX:
            return f"the provenance entry {shown(key)} does not fit 53 bits: write it as text"
    try:
        size_bytes = len(canonical.encode(dict(value)))
    except LocalError:
        return "the provenance holds NaN, infinity or text that is not Unicode"
    return f"the provenance takes {size_bytes} bytes of at most {PROVENANCE_MAX_BYTES}" if size_bytes > PROVENANCE_MAX_BYTES else None
