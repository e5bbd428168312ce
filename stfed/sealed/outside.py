"""What a sealed file shows without a key, read and checked in bounded memory. Nothing of it is authenticated before somebody opens it."""

from __future__ import annotations

from dataclasses import dataclass

from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.envelope import Envelope
from stfed.sealed.format import Layout, Slot, newest
from stfed.sealed.geometry import Geometry
from stfed.sealed.recipients import check_stanzas
from stfed.sealed.storage import Readable, read_bytes


@dataclass(frozen=True)
class Outside:
    """What a sealed file shows without a key. Nothing in it is authenticated yet.

    Attributes:
        layout: where everything lies.
        slots: for A and B: "live", the one that counts; "older"; "unused", never written; or "damaged", and ignored.
        generation: that of the live slot.
        envelope: its content.
        envelope_bytes: the length of that.
        geometry: how the payload is cut.
    """

    layout: Layout
    slots: tuple[str, str]
    generation: int
    envelope: Envelope
    envelope_bytes: int
    geometry: Geometry


def read_outside(source: Readable) -> Outside:
    """Reads and checks everything but the payload.

    Raises:
        MalformedError, UnsupportedError, TamperedError: as `Layout.parse`, `newest` and `Envelope.decode` say.
    """
    layout = Layout.parse(read_bytes(source, 0, min(HEADER_BYTES, source.size_bytes)), source.size_bytes)
    middle = HEADER_BYTES + layout.slot_bytes
    raw = read_bytes(source, HEADER_BYTES, middle), read_bytes(source, middle, layout.payload_offset)
    slots = Slot.decode(raw[0]), Slot.decode(raw[1])
    live = newest(slots)
    envelope = Envelope.decode(live.envelope, layout)
    check_stanzas(envelope.recipients)
    geometry = Geometry.of_payload(layout.payload_bytes, envelope.segment_bytes)
    states = [
        "live" if slot is live else "older" if slot else "damaged" if any(content) else "unused"
        for slot, content in zip(slots, raw, strict=True)
    ]
    return Outside(layout, (states[0], states[1]), live.generation, envelope, len(live.envelope), geometry)
