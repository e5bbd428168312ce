"""Arbitrary bytes, and arbitrary damage: only errors of ours, never a wrong tensor, memory bounded by the file."""

import json
import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stfed.errors import SealError
from stfed.sealed import inner
from stfed.sealed.bounds import HEADER_BYTES, SLOT_MIN_BYTES
from stfed.sealed.errors import MalformedError
from stfed.sealed.format import Layout, Slot
from stfed.sealed.numpy import load
from stfed.sealed.outside import read_outside
from stfed.sealed.storage import Memory, read_bytes

from .material import SEALED, identity_of

IDENTITY = identity_of("x25519")
WHOLE = (SEALED / "x25519.safetensors").read_bytes()
TENSORS = load(WHOLE, identity=IDENTITY)
PAYLOAD_AT = HEADER_BYTES + 2 * SLOT_MIN_BYTES
INTERESTING = st.one_of(
    st.integers(0, 400),  # the header's text
    st.integers(HEADER_BYTES - 8, HEADER_BYTES + 2600),  # slot A's envelope
    st.integers(PAYLOAD_AT - 40, PAYLOAD_AT + 100),  # checksum of B, FLOE's header
    st.integers(0, len(WHOLE) - 1),
)
EDITS = st.lists(st.tuples(INTERESTING, st.binary(min_size=1, max_size=12)), max_size=4)


def check(data: bytes) -> None:
    """Opens to the true tensors or is refused by an error of ours."""
    try:
        tensors = load(data, identity=IDENTITY)
    except SealError:
        return
    assert tensors.keys() == TENSORS.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, TENSORS[name])


@settings(max_examples=200, deadline=None)
@given(EDITS, st.none() | st.integers(0, len(WHOLE)), st.binary(max_size=8))
def test_a_damaged_file_opens_to_the_truth_or_not_at_all(edits: list[tuple[int, bytes]], cut: int | None, more: bytes) -> None:
    data = bytearray(WHOLE)
    for at, octets in edits:
        data[at : at + len(octets)] = octets
    check(bytes(data[:cut]) + more)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=5000))
@example(b"")
@example(b"\xff" * 8)
@example((4088).to_bytes(8, "little") + b'{"stfed.envelope":0}'.ljust(4088))
@example((4088).to_bytes(8, "little") + b'{"stfed.envelope":' + b"[" * 4000)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    check(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_envelopes_of_the_wrong_shape_under_a_good_checksum(data: st.DataObject) -> None:
    """Somewhere in the envelope, something else."""
    envelope: Any = json.loads(Slot.decode(WHOLE[HEADER_BYTES : HEADER_BYTES + SLOT_MIN_BYTES]).envelope)  # type: ignore[union-attr]
    part = envelope
    while True:
        key = data.draw(st.sampled_from(sorted(part)) if isinstance(part, dict) else st.integers(0, len(part) - 1))
        if not part[key] or not isinstance(part[key], dict | list) or data.draw(st.booleans()):
            break
        part = part[key]
    part[key] = data.draw(JSON)
    raw = json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    slot = Slot(1, raw).encode(SLOT_MIN_BYTES)
    check(WHOLE[:HEADER_BYTES] + slot + WHOLE[HEADER_BYTES + SLOT_MIN_BYTES :])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.binary(max_size=20))
def test_inner_headers_of_the_wrong_shape(entries: dict[str, Any], data: bytes) -> None:
    text = json.dumps(entries).encode()
    raw = len(text).to_bytes(8, "little") + text + data
    try:
        header = inner.parse(lambda start, stop: raw[start:stop], len(raw))
    except SealError:
        return
    assert max((info.end for info in header.tensors.values()), default=0) == len(data)


class Huge:
    """A file that claims any size and holds `head`; reading beyond gives zeros and is counted."""

    def __init__(self, head: bytes, size_bytes: int) -> None:
        self.head, self.size_bytes, self.read = head, size_bytes, 0

    def read_into(self, offset: int, out: memoryview) -> None:
        self.read += len(out)
        piece = self.head[offset : offset + len(out)]
        out[: len(piece)] = piece


def test_a_huge_file_costs_no_memory_before_it_is_verified() -> None:
    for layout in (Layout(bytes(32), 4 << 20, 1 << 50), Layout(bytes(32), SLOT_MIN_BYTES, 1 << 50)):
        huge = Huge(layout.header() + b"\1", layout.file_bytes)
        tracemalloc.start()
        with pytest.raises(MalformedError, match="both envelope slots are damaged"):
            read_outside(huge)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert huge.read == HEADER_BYTES + 2 * layout.slot_bytes
        assert peak < 5 * 2 * layout.slot_bytes + (1 << 20)


def test_a_header_of_a_length_it_has_not_is_not_allocated() -> None:
    for claim in (100_000_000, 1 << 40, (1 << 64) - 1):
        raw = claim.to_bytes(8, "little") + b"{}"
        tracemalloc.start()
        check(raw)
        with pytest.raises(MalformedError, match="over its end"):
            inner.parse(partial(read_bytes, Huge(raw, len(raw))), len(raw))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_decode_encode_identity_of_what_is_accepted() -> None:
    outside = read_outside(Memory(memoryview(WHOLE)))
    slot = Slot(outside.generation, outside.envelope.encode()).encode(outside.layout.slot_bytes)
    assert outside.layout.header() + slot + bytes(SLOT_MIN_BYTES) == WHOLE[:PAYLOAD_AT]
