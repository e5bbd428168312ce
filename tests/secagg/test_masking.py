"""Masks: the stated keystream on every number, uniform as a whole, and gone exactly when they are taken off."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.crypto.keystream import SEGMENT_BYTES, keystream
from stfed.encoding import EncodingPlan, TensorSpec, Vector, decode_sum, encode_update, pack_vector, unpack_vector
from stfed.errors import LocalError
from stfed.secagg.masking import apply_masks
from tests.encoding.helpers import numbers_of, silent, vector_sum, wide_of

LANE_BITS = (16, 32, 64)


def key(*names: object) -> bytes:
    return hashlib.sha256(repr(names).encode()).digest()


def plan_of(
    floats: int, *, ring_bits: int = 32, counters: int = 0, flags: int = 0, metric_slots: int = 1, parties: int = 6
) -> EncodingPlan:
    sizes = {"w": ("float32", floats), "n": ("int64", counters), "f": ("bool", flags)}
    tensors = tuple(TensorSpec(name, dtype, (size,)) for name, (dtype, size) in sizes.items() if size)
    return EncodingPlan(tensors, parties, ring_bits, metric_slots=metric_slots)


PLANS = {
    "floats in a ring of 8 bits": plan_of(1000, ring_bits=8),
    "floats in a ring of 11 bits": plan_of(1000, ring_bits=11),
    "floats in a whole lane of 16": plan_of(1000, ring_bits=16),
    "floats in a ring of 20 bits": plan_of(1000, ring_bits=20),
    "floats in a whole lane of 32": plan_of(1000),
    "floats in a ring of 33 bits": plan_of(1000, ring_bits=33),
    "floats in a whole lane of 64": plan_of(1000, ring_bits=64),
    "an evaluation, no floats": plan_of(0, metric_slots=32),
    "no floats, no metrics": plan_of(0, metric_slots=0),
    "counters only": plan_of(0, counters=50, flags=3, metric_slots=0),
    "all kinds": plan_of(777, ring_bits=20, counters=40, flags=30, metric_slots=5),
    "limbs that let three keys share a segment": plan_of(5, counters=14_450),
    "limbs of exactly a segment": plan_of(5, counters=43_687, flags=1),
    "limbs of several segments": plan_of(5, counters=90_000, flags=10),
    "ring words of several segments": plan_of(300_000, counters=4),
}


def any_vector(plan: EncodingPlan, seed: int) -> Vector:
    generator = np.random.default_rng(seed)
    ring = generator.integers(0, 1 << plan.ring_bits, plan.vector_length, np.uint64).astype(plan.lane)
    return Vector(ring, generator.integers(0, 1 << 30, plan.wide_length, np.uint32))


def limbs_of_stream(plan: EncodingPlan, mask: bytes) -> NDArray[Any]:
    """The stated words: little-endian, 30 bits of each, from the first segment behind the ring part."""
    first = -(-plan.vector_length * plan.lane.itemsize // SEGMENT_BYTES) * SEGMENT_BYTES
    return np.frombuffer(keystream(mask, first, 4 * plan.wide_length), "<u4") & np.uint32((1 << 30) - 1)


def masked(plan: EncodingPlan, vector: Vector, add: list[bytes], subtract: list[bytes]) -> Vector:
    """The definition, in Python integers and with the keystream that is written with AES-CTR."""
    ring, numbers = vector.ring.astype(object), np.array(numbers_of(plan, vector.wide), object)
    for sign, masks in ((1, add), (-1, subtract)):
        for mask in masks:
            ring = ring + sign * np.frombuffer(keystream(mask, 0, vector.ring.nbytes), plan.lane.newbyteorder("<")).astype(object)
            numbers = numbers + sign * np.array(numbers_of(plan, limbs_of_stream(plan, mask)), object)
    return Vector((ring % (1 << plan.ring_bits)).astype(plan.lane), wide_of(plan, numbers.tolist()))


def assert_equal(found: Vector, wanted: Vector) -> None:
    np.testing.assert_array_equal(found.ring, wanted.ring)
    np.testing.assert_array_equal(found.wide, wanted.wide)


def test_the_plans_meet_what_their_names_say() -> None:
    words = SEGMENT_BYTES // 4
    assert 3 * PLANS["limbs that let three keys share a segment"].wide_length <= words
    assert 4 * PLANS["limbs that let three keys share a segment"].wide_length > words - 2000
    assert PLANS["limbs of exactly a segment"].wide_length == words
    assert PLANS["limbs of several segments"].wide_length > 2 * words
    assert PLANS["ring words of several segments"].vector_length > 2 * words


@pytest.mark.parametrize("name", PLANS)
def test_the_masks_are_those_of_the_definition(name: str) -> None:
    plan = PLANS[name]
    add, subtract = [key("add", index) for index in range(5)], [key("subtract", index) for index in range(4)]
    for plus, minus in ((add, subtract), (add, []), ([], subtract), (add[:1], []), ([], []), (add[:2], add[:2])):
        vector = any_vector(plan, 1)
        wanted = masked(plan, vector, plus, minus)
        apply_masks(vector, plan, plus, minus)
        vector.check(plan)
        assert_equal(vector, wanted)
        assert_equal(unpack_vector(pack_vector(vector, plan), plan), wanted)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads: int) -> None:
    plan = PLANS["ring words of several segments"]
    vector, same = any_vector(plan, 1), any_vector(plan, 1)
    apply_masks(vector, plan, [key(1)], [key(2)])
    apply_masks(same, plan, [key(1)], [key(2)], threads=threads)
    assert_equal(same, vector)


def test_what_is_no_vector_of_the_plan_is_refused_and_left_as_it_is() -> None:
    plan = PLANS["all kinds"]
    vector = any_vector(plan_of(778, ring_bits=20, counters=40, flags=30, metric_slots=5), 1)
    before = vector.ring.copy(), vector.wide.copy()
    with pytest.raises(LocalError, match=r"ring part is uint32\[778\], the plan says uint32\[777\]"):
        apply_masks(vector, plan, [key(1)], [])
    vector = Vector(any_vector(plan, 1).ring, before[1][:-1])
    with pytest.raises(LocalError, match="wide part"):
        apply_masks(vector, plan, [key(1)], [])


def segment_border_plans() -> list[tuple[int, EncodingPlan]]:
    """For every lane: ring parts of k segments, one word less and one more, so also of no word at all."""
    found = []
    for lane_bits, k, more in itertools.product(LANE_BITS, range(3), (-1, 0, 1)):
        words = k * SEGMENT_BYTES * 8 // lane_bits + more
        if words >= 0:
            found.append((k + (more > 0), plan_of(words, ring_bits=lane_bits, counters=20, metric_slots=3)))
    return found


@pytest.mark.parametrize(("first_segment", "plan"), segment_border_plans(), ids=lambda value: getattr(value, "vector_length", None))
def test_the_two_parts_take_disjoint_ranges_of_the_keystream(first_segment: int, plan: EncodingPlan) -> None:
    """A word of the stream that masked both a coordinate and a limb would give their difference away."""
    vector = Vector.zeros(plan)
    apply_masks(vector, plan, [key("a")], [])  # zeros masked are the mask: nothing to carry
    stream = keystream(key("a"), 0, 4 * SEGMENT_BYTES)
    assert vector.ring.tobytes() == stream[: vector.ring.nbytes]
    found = []
    for shift in range(4):
        words = np.frombuffer(stream[shift : len(stream) - (4 - shift) % 4], "<u4") & np.uint32((1 << 30) - 1)
        starts = np.flatnonzero(words[: words.size - vector.wide.size + 1] == vector.wide[0])
        found += [4 * int(at) + shift for at in starts if (words[at : at + vector.wide.size] == vector.wide).all()]
    assert found == [first_segment * SEGMENT_BYTES]
    assert found[0] >= vector.ring.nbytes


def send(plan: EncodingPlan, vectors: list[Vector], survivors: list[int]) -> tuple[list[Vector], Vector]:
    """One round on a complete graph: what the survivors send, and their sum with all masks off."""
    nodes = range(len(vectors))
    sent, total = [], Vector.zeros(plan)
    for node in survivors:
        vector = unpack_vector(pack_vector(vectors[node], plan), plan)
        vector = Vector(vector.ring.copy(), vector.wide)
        add = [key("self", node)] + [key("pair", node, other) for other in nodes if other > node]
        apply_masks(vector, plan, add, [key("pair", other, node) for other in nodes if other < node])
        sent.append(vector)
        total.add(unpack_vector(pack_vector(vector, plan), plan), plan)
    gone = [node for node in nodes if node not in survivors]
    add = [key("pair", dead, node) for dead in gone for node in survivors if dead < node]
    subtract = [key("pair", node, dead) for dead in gone for node in survivors if dead > node]
    apply_masks(total, plan, add, subtract + [key("self", node) for node in survivors])
    return sent, total


@pytest.mark.parametrize("name", PLANS)
def test_masks_cancel_exactly(name: str) -> None:
    plan = PLANS[name]
    vectors = [any_vector(plan, node) for node in range(4)]
    for survivors in ([0, 1, 2, 3], [0, 2, 3], [1]):
        _, total = send(plan, vectors, survivors)
        assert_equal(total, vector_sum(plan, [vectors[node] for node in survivors]))


@pytest.mark.parametrize(("_", "plan"), segment_border_plans(), ids=lambda value: getattr(value, "vector_length", None))
def test_masks_cancel_exactly_at_segment_borders(_: int, plan: EncodingPlan) -> None:
    vector = any_vector(plan, 1)
    apply_masks(vector, plan, [key(1), key(2)], [key(3)])
    assert (vector.wide != any_vector(plan, 1).wide).any()
    apply_masks(vector, plan, [key(3)], [key(2), key(1)])
    assert_equal(vector, any_vector(plan, 1))


@settings(deadline=None, max_examples=50)
@given(
    st.builds(
        plan_of,
        st.integers(0, 30),
        ring_bits=st.integers(8, 64),
        counters=st.integers(0, 5),
        flags=st.integers(0, 5),
        metric_slots=st.integers(0, 4),
    ),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_masks_cancel_exactly_in_any_plan(plan: EncodingPlan, count: int, random: Any) -> None:
    vectors = [any_vector(plan, random.randrange(2**32)) for _ in range(count)]
    survivors = random.sample(range(count), random.randint(1, count))
    _, total = send(plan, vectors, survivors)
    assert_equal(total, vector_sum(plan, [vectors[node] for node in survivors]))


# Uniformity: 10 keys times 2,000 numbers are 20,000 samples of each limb in 64 cells, 312 a cell. Chi-square with 63 degrees of freedom has
# mean 63 and deviation 11.2; the bound is six deviations off. The keys are fixed, so the result is too.
CELLS, KEYS, NUMBERS, BOUND = 64, 10, 2000, 63 + 6 * (2 * 63) ** 0.5


def chi_square(cells: NDArray[Any]) -> float:
    expected = cells.size / CELLS
    return float(((np.bincount(cells.ravel(), minlength=CELLS) - expected) ** 2 / expected).sum())


def looks_uniform(limbs: NDArray[Any]) -> bool:
    """Shape (limbs, samples): the upper and lower bits of every limb, and each two limbs, and each two neighbours, against each other."""
    upper, lower = limbs >> 24, limbs & 63
    statistics = [chi_square(bits) for bits in (*upper, *lower)]
    statistics += [chi_square(one >> 3 << 3 | other >> 3) for one, other in itertools.combinations(upper, 2)]
    statistics += [chi_square(row[:-1] >> 3 << 3 | row[1:] >> 3) for row in upper]
    return bool(max(statistics) < BOUND)


@pytest.mark.parametrize("value", ["zero", "largest", "middle"])
def test_a_masked_number_is_uniform_as_a_whole_whatever_it_is(value: str) -> None:
    plan = plan_of(3, counters=NUMBERS, flags=NUMBERS, metric_slots=NUMBERS)
    places = plan.layout()
    groups = [
        (plan.metric_format, places.metrics),
        (plan.integer_format("int64"), places.tensors[1]),
        (plan.integer_format("bool"), places.tensors[2]),
    ]
    samples: list[list[NDArray[Any]]] = [[] for _ in groups]
    for index in range(KEYS):
        vector = Vector.zeros(plan)
        for number, place in groups:
            x = {"zero": 0, "largest": number.largest, "middle": number.largest // 2}[value]
            vector.wide[place] = np.repeat(np.array(number.split(x), np.uint32), NUMBERS)
        apply_masks(vector, plan, [key("plus", index), key("more", index)], [key("minus", index)])
        for group, (number, place) in zip(samples, groups, strict=True):
            group.append(vector.wide[place].reshape(number.limbs, NUMBERS))
    assert [number.limbs for number, _ in groups] == [5, 3, 2]
    for group in samples:
        limbs = np.concatenate(group, axis=1)
        assert int(limbs.max()) < 1 << 30
        assert looks_uniform(limbs)


def test_the_statistic_finds_what_is_not_uniform() -> None:
    limbs = np.random.default_rng(3).integers(0, 1 << 30, (4, KEYS * NUMBERS), np.uint32)
    assert looks_uniform(limbs)
    for place in range(4):
        for bad in (limbs[place] & np.uint32((1 << 29) - 1), limbs[place] // 8 * 8, np.zeros_like(limbs[place]), limbs[place - 1]):
            spoilt = limbs.copy()
            spoilt[place] = bad
            assert not looks_uniform(spoilt)


@pytest.mark.parametrize("ring_bits", [11, 20, 32, 64])
def test_worlds_of_equal_sums_are_the_same_to_the_coordinator(ring_bits: int) -> None:
    received = {"w": np.zeros(3, np.float32), "n": np.array([7, -7])}
    trained = {"w": received["w"], "n": np.array([8, 9000])}
    plan = EncodingPlan.for_arrays(received, parties=3, ring_bits=ring_bits, max_weight=2000, metric_slots=2)
    totals = set()
    for weights in ([1000, 1000, 24], [1500, 476, 48]):
        updates = [encode_update(plan, received, trained, weight, {"loss": 0.3, "steps": 2**40}, silent) for weight in weights]
        sent, total = send(plan, [update.vector for update in updates], [0, 1, 2])
        totals.add(pack_vector(total, plan))
        result = decode_sum(plan, total, 3, received, updates[0].schema)
        assert result.total_weight == 2024
        assert result.metrics == {"loss": 0.3, "steps": 2**40}
        np.testing.assert_array_equal(result.arrays["n"], trained["n"])
        for vector, update in zip(sent, updates, strict=True):
            assert (vector.wide != update.vector.wide).mean() > 0.9
    assert len(totals) == 1
