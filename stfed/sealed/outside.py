"""What a sealed file shows without a key, read and checked in bounded memory. Nothing of it is verified here but that it fits together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from stfed.errors import MalformedError
from stfed.files import Readable, read_bytes
from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.digests import Digests
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import TamperedError
from stfed.sealed.floe import HEADER_BYTES as FLOE_HEADER_BYTES
from stfed.sealed.format import Layout, Slot, newest


@dataclass(frozen=True)
class Outside:
    """What a sealed file shows without a key.

    Attributes:
        layout: where everything lies.
        slots: for A and B: "live", the one that counts; "older"; "unused", never written; or "damaged", and ignored.
        envelope: the content of the live one.
        envelope_bytes: the length of that.
    """

    layout: Layout
    slots: tuple[str, str]
    envelope: Envelope
    envelope_bytes: int


def read_outside(source: Readable) -> Outside:
    """Reads and checks everything but digests and payload.

    Raises:
        MalformedError, UnsupportedError, TamperedError: as `Layout.parse`, `newest` and `Envelope.decode` say.
    """
    layout = Layout.parse(read_bytes(source, 0, min(HEADER_BYTES, source.size_bytes)), source.size_bytes)
    middle = HEADER_BYTES + layout.slot_bytes
    raw = read_bytes(source, HEADER_BYTES, middle), read_bytes(source, middle, layout.payload_offset)
    slots = Slot.decode(raw[0]), Slot.decode(raw[1])
    live = newest(slots)
    envelope = Envelope.decode(live.envelope, layout)
    if live.generation != envelope.generation:
        raise MalformedError(f"envelope generation {live.generation} has {len(envelope.grants)} grants")
    states = [
        "live" if slot is live else "older" if slot else "damaged" if any(content) else "unused"
        for slot, content in zip(slots, raw, strict=True)
    ]
    return Outside(layout, (states[0], states[1]), envelope, len(live.envelope))


def check_floe_header(source: Readable, outside: Outside) -> bytes:
    """The payload's first bytes, which are the ones that the manifest names; TamperedError if they are others."""
    start = outside.layout.payload_offset
    header = read_bytes(source, start, start + FLOE_HEADER_BYTES)
    if hashlib.sha256(header).digest() != outside.envelope.manifest.floe_header_sha256:
        raise TamperedError("the payload's header is not the one that the manifest names")
    return header


def read_digests(source: Readable, outside: Outside) -> Digests | None:
    """A private copy of the list of segment digests, checked against the manifest; None in an unsigned file.

    Raises:
        TamperedError: if it is not the list that the manifest names.
    """
    manifest = outside.envelope.manifest
    if manifest.digests_sha256 is None:
        return None
    listed = bytearray(outside.layout.digests_bytes)
    source.read_into(outside.layout.digests_offset, memoryview(listed))
    return Digests.checked(outside.layout.suite, listed, manifest.digests_sha256)
