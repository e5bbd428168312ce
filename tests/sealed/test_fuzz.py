"""Arbitrary bytes, and arbitrary damage: only errors of ours, never a wrong tensor, memory bounded by the file."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stfed.errors import MalformedError, SealError
from stfed.files import Memory, read_bytes
from stfed.sealed import inner
from stfed.sealed.bounds import HEADER_BYTES, SLOT_MIN_BYTES
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import TamperedError
from stfed.sealed.format import Layout, Slot
from stfed.sealed.numpy import load
from stfed.sealed.outside import read_outside
from stfed.sealed.reader import SealedReader
from stfed.sealed.suites import SIGNED, UNSIGNED
from stfed.sealed.verifying import verify_file

from .material import SEALED, file_of, identity_of, keypair, scenarios, seal_bytes, verifying_key_of, whole

PLAIN = (SEALED / "plain.safetensors").read_bytes()
TENSORS = safetensors.numpy.load(PLAIN)
ALICE = verifying_key_of("alice")
PAYLOAD_AT = HEADER_BYTES + 2 * SLOT_MIN_BYTES
MIB = 1 << 20

BASES: dict[str, dict[str, Any]] = {
    "x25519": {"identity": identity_of("x25519")},
    "signed": {"identity": identity_of("x25519"), "trusted": ALICE},
    "granted-thrice": {"identity": identity_of("colleague"), "trusted": ALICE},
}
BASE = st.sampled_from(sorted(BASES))
DIGESTS = [whole("signed")[-96:][at : at + 32] for at in (0, 32, 64)]


def check(data: bytes, base: str = "x25519") -> None:
    """Opens to the true tensors or is refused by an error of ours."""
    try:
        tensors = load(data, **BASES[base])
    except SealError:
        return
    assert tensors.keys() == TENSORS.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, TENSORS[name])


@contextmanager
def memory_below(size_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < size_bytes


@st.composite
def damaged(draw: st.DrawFn, base: str) -> bytes:
    """A whole file with a few edits where they hurt, cut or extended."""
    data = bytearray(whole(base))
    place = st.one_of(
        st.integers(0, 500),  # the header's text
        st.integers(HEADER_BYTES - 8, HEADER_BYTES + 4000),  # slot A's envelope
        st.integers(HEADER_BYTES + SLOT_MIN_BYTES - 40, HEADER_BYTES + SLOT_MIN_BYTES + 4000),  # its checksum, slot B's envelope
        st.integers(PAYLOAD_AT - 40, PAYLOAD_AT + 100),  # checksum of B, FLOE's header
        st.integers(len(data) - 200, len(data) - 1),  # the last segment, digests
        st.integers(0, len(data) - 1),
    )
    for at, octets in draw(st.lists(st.tuples(place, st.binary(min_size=1, max_size=12)), max_size=4)):
        data[at : at + len(octets)] = octets
    return bytes(data[: draw(st.none() | st.integers(0, len(data)))]) + draw(st.binary(max_size=8))


@settings(max_examples=300, deadline=None)
@given(st.data(), BASE)
def test_a_damaged_file_opens_to_the_truth_or_not_at_all(data: st.DataObject, base: str) -> None:
    check(data.draw(damaged(base)), base)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(["signed", "granted-thrice"]))
def test_what_verifies_without_a_key_differs_in_its_slots_at_most(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, base: str
) -> None:
    """And then the manifest is the same and grants are missing at most."""
    path, content = tmp_path_factory.getbasetemp() / "verified", data.draw(damaged(base))
    path.write_bytes(content)
    try:
        verified = verify_file(path, trusted=ALICE)
    except SealError:
        return
    truth = read_outside(Memory(memoryview(whole(base)))).envelope
    seen = read_outside(Memory(memoryview(content))).envelope
    assert content[:HEADER_BYTES] + content[PAYLOAD_AT:] == whole(base)[:HEADER_BYTES] + whole(base)[PAYLOAD_AT:]
    assert verified.manifest.encode() == truth.manifest.encode()
    assert seen.recipients == truth.recipients
    assert seen.grants == truth.grants[: len(seen.grants)]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=5000))
@example(b"")
@example(b"\xff" * 8)
@example((4088).to_bytes(8, "little") + b'{"stfed.envelope":0}'.ljust(4088))
@example((4088).to_bytes(8, "little") + b'{"stfed.envelope":' + b"[" * 4000)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    check(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=96, max_size=96) | st.permutations([0, 1, 2]).map(lambda order: b"".join(DIGESTS[at] for at in order)))
def test_any_other_list_of_digests_is_refused(digests: bytes) -> None:
    data = whole("signed")
    if digests == data[-96:]:
        check(data, "signed")
        return
    with pytest.raises(TamperedError, match="the list of segment digests"):
        load(data[:-96] + digests, **BASES["signed"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)


@st.composite
def misshapen(draw: st.DrawFn, base: str) -> bytes:
    """A file whose live envelope has something else, left out, added or repeated somewhere, under a good checksum."""
    live = newest(base)
    envelope: Any = json.loads(live.envelope)
    part = envelope
    while True:
        key = draw(st.sampled_from(sorted(part)) if isinstance(part, dict) else st.integers(0, len(part) - 1))
        if not part[key] or not isinstance(part[key], dict | list) or draw(st.booleans()):
            break
        part = part[key]
    match draw(st.sampled_from(["replace", "remove", "repeat"])):
        case "remove":
            del part[key]
        case "repeat" if isinstance(part, list):
            part.insert(key, part[key])
        case _:
            part[key] = draw(JSON)
    raw = json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    grants = envelope.get("grants")
    generation = draw(st.sampled_from([live.generation, 1 + len(grants) if isinstance(grants, list) else 1]))
    at = HEADER_BYTES + (live.generation + 1) % 2 * SLOT_MIN_BYTES
    data = whole(base)
    return data[:at] + Slot(generation, raw).encode(SLOT_MIN_BYTES) + data[at + SLOT_MIN_BYTES :]


def newest(base: str) -> Slot:
    data = whole(base)
    slots = [Slot.decode(data[at : at + SLOT_MIN_BYTES]) for at in (HEADER_BYTES, HEADER_BYTES + SLOT_MIN_BYTES)]
    return max((slot for slot in slots if slot is not None), key=lambda slot: slot.generation)


@settings(max_examples=300, deadline=None)
@given(st.data(), BASE)
def test_envelopes_of_the_wrong_shape_under_a_good_checksum(data: st.DataObject, base: str) -> None:
    check(data.draw(misshapen(base)), base)


@settings(max_examples=200, deadline=None)
@given(st.data(), BASE)
def test_an_envelope_that_is_read_is_written_the_same(data: st.DataObject, base: str) -> None:
    """Decode-encode identity, for whatever is accepted: there is no second form of one envelope."""
    same_again(data.draw(misshapen(base)))


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_every_scenario_that_is_read_is_written_the_same(name: str) -> None:
    same_again(file_of(name))


def same_again(content: bytes) -> None:
    try:
        outside = read_outside(Memory(memoryview(content)))
    except SealError:
        return
    layout, envelope = outside.layout, outside.envelope
    at = HEADER_BYTES + outside.slots.index("live") * layout.slot_bytes
    raw = content[at : at + layout.slot_bytes]
    assert layout.header() == content[:HEADER_BYTES]
    assert Slot(envelope.generation, envelope.encode()).encode(layout.slot_bytes) == raw
    assert Envelope.decode(envelope.encode(), layout) == envelope


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.binary(max_size=20))
def test_inner_headers_of_the_wrong_shape(entries: dict[str, Any], data: bytes) -> None:
    inner_header(json.dumps(entries).encode(), data)


SIZES = st.sampled_from([0, 1, 2, 4, 8, 2**31, 2**32, 2**53, 2**63, 2**64 - 1, 2**64, 10**30, -1])
INFOS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "F32", "F64", "F4", "F6_E2M3", "BOOL", "f32", ""]),
        "shape": st.lists(SIZES, max_size=4),
        "data_offsets": st.lists(SIZES, min_size=2, max_size=2) | st.tuples(st.integers(0, 16), st.integers(0, 16)),
    }
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), INFOS, max_size=3), st.binary(max_size=16), st.booleans())
def test_inner_headers_that_claim_much(entries: dict[str, Any], data: bytes, usual: bool) -> None:
    """In the form that is read by the short cut, and in another one."""
    with memory_below(MIB):
        inner_header(json.dumps(entries, separators=(",", ":") if usual else None).encode(), data)


def inner_header(text: bytes, data: bytes) -> None:
    """What is accepted, safetensors accepts too, and it covers the data exactly."""
    raw = len(text).to_bytes(8, "little") + text + data
    try:
        header = inner.parse(lambda start, stop: raw[start:stop], len(raw))
    except SealError:
        return
    assert max((info.end for info in header.tensors.values()), default=0) == len(data)
    accepted = safetensors.deserialize(raw)  # type: ignore[no-untyped-call]
    assert {name for name, _ in accepted} == set(header.tensors)


class Huge:
    """A file that claims any size and holds `head`; reading beyond gives zeros and is counted."""

    def __init__(self, head: bytes, size_bytes: int) -> None:
        self.head, self.size_bytes, self.read = head, size_bytes, 0

    def read_into(self, offset: int, out: memoryview) -> None:
        self.read += len(out)
        piece = self.head[offset : offset + len(out)]
        out[: len(piece)] = piece


@pytest.mark.parametrize("slot_bytes", [SLOT_MIN_BYTES, 4 << 20])
@pytest.mark.parametrize("suite", [UNSIGNED, SIGNED["blake3"]], ids=lambda suite: suite.name)
def test_a_huge_file_costs_no_memory_before_it_is_verified(slot_bytes: int, suite: Any) -> None:
    layout = Layout(suite, bytes(32), slot_bytes, 1 << 50, 1 << 40 if suite.hash else 0)
    huge = Huge(layout.header() + b"\1", layout.file_bytes)
    with memory_below(5 * 2 * slot_bytes + MIB), pytest.raises(MalformedError, match="both envelope slots are damaged"):
        read_outside(huge)
    assert huge.read == HEADER_BYTES + 2 * slot_bytes


def test_a_header_of_a_length_it_has_not_is_not_allocated() -> None:
    for claim in (100_000_000, 1 << 40, (1 << 64) - 1):
        raw = claim.to_bytes(8, "little") + b"{}"
        with memory_below(MIB):
            check(raw)
            with pytest.raises(MalformedError, match="over its end"):
                inner.parse(partial(read_bytes, Huge(raw, len(raw))), len(raw))


@pytest.mark.parametrize("name", sorted(name for name, scenario in scenarios().items() if scenario["expect"] != "ok"))
def test_no_refusal_costs_more_memory_than_a_few_times_the_file(name: str) -> None:
    """All of them: whatever a file claims, of its size, costs or depth, what is spent on it is bounded by what it is."""
    content = file_of(name)
    options = BASES.get(scenarios()[name]["file"], BASES["signed"])
    with memory_below(8 * len(content) + MIB), suppress(SealError):
        SealedReader(content, **options)


def test_statements_that_fill_their_bound() -> None:
    """The largest envelope that can be stated is read in bounded memory too."""
    identity, recipient = keypair()
    text = "x" * (32_768 - len('{"k":""}'))
    content = seal_bytes(PLAIN, recipient, public={"k": text}, provenance={"p": text})
    with memory_below(8 * len(content) + MIB), SealedReader(content, identity=identity) as reader:
        assert reader.statements == {"k": text, "p": text}
