"""Header and slots: one encoding each, room for as many recipients as promised."""

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.sealed.bounds import HEADER_BYTES, RECIPIENTS_MAX, SLOT_MAX_BYTES, SLOT_MIN_BYTES
from stfed.sealed.envelope import Envelope, Stanza, key_info, payload_ad
from stfed.sealed.errors import MalformedError, UnsupportedError
from stfed.sealed.format import Layout, Slot, newest, slot_bytes_for
from stfed.sealed.keys import HYBRID, X25519, Kind

SLOT_SIZES = st.sampled_from([1 << power for power in range(16, 23)])


def layouts() -> st.SearchStrategy[Layout]:
    return st.builds(Layout, st.binary(min_size=32, max_size=32), SLOT_SIZES, st.integers(1, 1 << 50))


def an_envelope(kind: Kind = X25519, recipients: int = 1, **provenance: int) -> Envelope:
    layout = Layout(bytes(32), SLOT_MIN_BYTES, 1000)
    return Envelope(layout, 4096, provenance, (Stanza(kind.name, bytes(8), bytes(kind.body_bytes)),) * recipients, bytes(32))


@given(layouts())
def test_a_header_reads_back_and_has_its_fixed_length(layout: Layout) -> None:
    header = layout.header()
    assert len(header) == HEADER_BYTES
    assert Layout.parse(header, layout.file_bytes) == layout
    with pytest.raises(MalformedError, match="cut off or extended"):
        Layout.parse(header, layout.file_bytes + 1)


@given(layouts(), st.data())
def test_any_other_header_is_refused(layout: Layout, data: st.DataObject) -> None:
    header = bytearray(layout.header())
    header[data.draw(st.integers(0, HEADER_BYTES - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = Layout.parse(bytes(header), layout.file_bytes)
    except (MalformedError, UnsupportedError):
        return
    # A changed digit of the file id is another, equally valid header; the envelope tells them apart.
    assert other.header() == bytes(header)
    assert other.file_id != layout.file_id


def test_stock_safetensors_agrees_on_the_header() -> None:
    layout = Layout(bytes(32), SLOT_MIN_BYTES, 10)
    parts = dict(safetensors.deserialize(layout.header() + bytes(layout.file_bytes - HEADER_BYTES)))
    assert {name: part["shape"] for name, part in parts.items()} == {"stfed.envelope": [2 * SLOT_MIN_BYTES], "stfed.payload": [10]}


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=500))
def test_a_slot_reads_back(generation: int, envelope: bytes) -> None:
    slot = Slot(generation, envelope)
    raw = slot.encode(1024)
    assert len(raw) == 1024
    assert Slot.decode(raw) == slot


@given(st.integers(0, 1023), st.integers(0, 7))
def test_a_torn_slot_is_none(at: int, bit: int) -> None:
    raw = bytearray(Slot(1, b"content").encode(1024))
    raw[at] ^= 1 << bit
    assert Slot.decode(bytes(raw)) is None


def test_an_unwritten_slot_is_none() -> None:
    assert Slot.decode(bytes(SLOT_MIN_BYTES)) is None


def test_which_slot_counts() -> None:
    one, two = Slot(1, b"one"), Slot(2, b"two")
    assert newest((one, None)) is one
    assert newest((None, one)) is one
    with pytest.raises(UnsupportedError, match="generation 2"):
        newest((one, two))
    with pytest.raises(MalformedError, match="same generation"):
        newest((one, one))
    with pytest.raises(MalformedError, match="both envelope slots are damaged"):
        newest((None, None))


def test_slots_grow_with_the_envelope() -> None:
    assert slot_bytes_for(0) == slot_bytes_for(SLOT_MIN_BYTES - 44) == SLOT_MIN_BYTES
    assert slot_bytes_for(SLOT_MIN_BYTES - 43) == 2 * SLOT_MIN_BYTES
    assert slot_bytes_for(SLOT_MAX_BYTES - 44) == SLOT_MAX_BYTES
    with pytest.raises(LocalError, match="name fewer recipients"):
        slot_bytes_for(SLOT_MAX_BYTES - 43)
    full = SLOT_MIN_BYTES - 44
    assert len(an_envelope(HYBRID, 38).encode()) <= full < len(an_envelope(HYBRID, 43).encode())
    assert len(an_envelope(X25519, 370).encode()) <= full
    assert slot_bytes_for(len(an_envelope(HYBRID, RECIPIENTS_MAX).encode())) == 2 << 20


def test_an_envelope_reads_back_and_what_it_states_is_bound() -> None:
    envelope = an_envelope(round=3, parties=9)
    layout, provenance = envelope.layout, envelope.provenance
    assert Envelope.decode(envelope.encode(), layout) == envelope
    info = key_info(layout, provenance)
    data = payload_ad(layout, provenance, 4096, envelope.recipients)
    assert key_info(layout, dict(reversed(list(provenance.items())))) == info
    other = Layout(bytes(31) + b"\1", layout.slot_bytes, layout.payload_bytes)
    assert len({info, key_info(other, provenance), key_info(layout, {"round": 3}), key_info(layout, {})}) == 4
    assert len({
        data,
        payload_ad(other, provenance, 4096, envelope.recipients),
        payload_ad(Layout(layout.file_id, 2 * layout.slot_bytes, 1000), provenance, 4096, envelope.recipients),
        payload_ad(Layout(layout.file_id, layout.slot_bytes, 1001), provenance, 4096, envelope.recipients),
        payload_ad(layout, {}, 4096, envelope.recipients),
        payload_ad(layout, provenance, 8192, envelope.recipients),
        payload_ad(layout, provenance, 4096, envelope.recipients * 2),
    }) == 7  # fmt: skip
