"""Header and slots: one encoding each, room for as many recipients as promised."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.keys.encryption import HYBRID, X25519, Kind
from stfed.keys.signing import SigningKey
from stfed.sealed.bounds import HEADER_BYTES, RECIPIENTS_MAX, SLOT_MAX_BYTES, SLOT_MIN_BYTES
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import UnsupportedError
from stfed.sealed.format import Layout, Slot, fits, newest, slot_bytes_for
from stfed.sealed.manifest import Context, Manifest
from stfed.sealed.policy import Policy
from stfed.sealed.stanza import Stanza, recipients_sha256
from stfed.sealed.suites import SIGNED, UNSIGNED

SLOT_SIZES = st.sampled_from([1 << power for power in range(16, 23)])


def layouts() -> st.SearchStrategy[Layout]:
    unsigned = st.builds(Layout, st.just(UNSIGNED), st.binary(min_size=32, max_size=32), SLOT_SIZES, st.integers(1, 1 << 50), st.just(0))
    suites = st.sampled_from(list(SIGNED.values()))
    return unsigned | st.builds(
        Layout, suites, st.binary(min_size=32, max_size=32), SLOT_SIZES, st.integers(1, 1 << 50), st.integers(1, 1 << 30)
    )


def an_envelope(kind: Kind = X25519, recipients: int = 1, **public: int) -> Envelope:
    layout = Layout(UNSIGNED, bytes(32), SLOT_MIN_BYTES, 1000, 0)
    stanzas = (Stanza(kind.name, bytes(8), bytes(kind.body_bytes)),) * recipients
    context = Context(UNSIGNED, bytes(32), datetime(2026, 1, 1, tzinfo=UTC), (), Policy(), public, b"")
    return Envelope(Manifest(context, layout, 4096, bytes(32), recipients_sha256(stanzas), None), stanzas)


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
    layout = Layout(SIGNED["sha256"], bytes(32), SLOT_MIN_BYTES, 10, 64)
    parts = dict(safetensors.deserialize(layout.header() + bytes(layout.file_bytes - HEADER_BYTES)))
    shapes = {name: part["shape"] for name, part in parts.items()}
    assert shapes == {"stfed.envelope": [2 * SLOT_MIN_BYTES], "stfed.payload": [10], "stfed.digests": [64]}


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
    assert newest((one, two)) is newest((two, one)) is two
    with pytest.raises(MalformedError, match="same generation"):
        newest((one, one))
    with pytest.raises(MalformedError, match="both envelope slots are damaged"):
        newest((None, None))


def test_a_slot_leaves_half_of_itself_for_grants() -> None:
    half = SLOT_MIN_BYTES // 2
    assert slot_bytes_for(0) == slot_bytes_for(half - 44) == SLOT_MIN_BYTES
    assert slot_bytes_for(half - 43) == 2 * SLOT_MIN_BYTES
    assert slot_bytes_for(SLOT_MAX_BYTES - 44) == SLOT_MAX_BYTES
    with pytest.raises(LocalError, match="name fewer recipients"):
        slot_bytes_for(SLOT_MAX_BYTES - 43)
    assert fits(SLOT_MIN_BYTES - 44, SLOT_MIN_BYTES)
    assert not fits(SLOT_MIN_BYTES - 43, SLOT_MIN_BYTES)
    assert len(an_envelope(HYBRID, 18).encode()) <= half - 44 < len(an_envelope(HYBRID, 21).encode())
    assert len(an_envelope(X25519, 180).encode()) <= half - 44
    assert slot_bytes_for(len(an_envelope(HYBRID, RECIPIENTS_MAX).encode())) == SLOT_MAX_BYTES


def test_an_envelope_reads_back_and_what_it_states_is_bound() -> None:
    envelope = an_envelope(round=3, parties=9)
    manifest, layout, context = envelope.manifest, envelope.manifest.layout, envelope.manifest.context
    assert Envelope.decode(envelope.encode(), layout) == envelope
    key = SigningKey.generate().public
    variants = [
        replace(context, file_id=bytes(31) + b"\1"),
        replace(context, time=datetime(2027, 1, 1, tzinfo=UTC)),
        replace(context, public={"round": 3}),
        replace(context, public={}),
        replace(context, sealed=b"sealed"),
        replace(context, suite=SIGNED["blake3"]),
        replace(context, signers=(key,)),
        replace(context, policy=Policy(purposes="test")),
    ]
    assert replace(context, public={"parties": 9, "round": 3}).key_info == context.key_info
    assert len({context.key_info, *(variant.key_info for variant in variants)}) == 1 + len(variants)
    recipients = manifest.recipients_sha256
    data = context.payload_ad(layout, 4096, recipients)
    others = [
        *(variant.payload_ad(layout, 4096, recipients) for variant in variants),
        context.payload_ad(replace(layout, slot_bytes=2 * layout.slot_bytes), 4096, recipients),
        context.payload_ad(replace(layout, payload_bytes=1001), 4096, recipients),
        context.payload_ad(layout, 8192, recipients),
        context.payload_ad(layout, 4096, recipients_sha256(envelope.recipients * 2)),
    ]
    assert len({data, *others}) == 1 + len(others)
