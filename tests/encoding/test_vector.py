"""Vector: addition in two rings at once, and its one form on the wire."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, TensorSpec, Vector, pack, pack_vector, packed_bytes, payload_bytes, unpack_vector
from stfed.errors import DecodeError, LocalError

from .helpers import numbers_of, vector_sum, wide_of

RINGS = range(8, 65)


@st.composite
def plans(draw: st.DrawFn) -> EncodingPlan:
    """Every kind of number, some of them not at all, and sizes that do and do not end on a byte."""
    shapes = {"w": ("float32", draw(st.integers(0, 20))), "n": ("int64", draw(st.integers(0, 3))), "f": ("bool", draw(st.integers(0, 3)))}
    tensors = tuple(TensorSpec(name, dtype, (size,)) for name, (dtype, size) in draw(st.permutations(list(shapes.items()))))
    return EncodingPlan(tensors, draw(st.integers(1, 60)), draw(st.sampled_from(RINGS)), metric_slots=draw(st.integers(0, 3)))


def any_vector(plan: EncodingPlan, seed: int) -> Vector:
    """Uniform in both rings, as a masked vector is."""
    generator = np.random.default_rng(seed)
    ring = generator.integers(0, 1 << plan.ring_bits, plan.vector_length, np.uint64)
    return Vector(ring.astype(plan.lane), generator.integers(0, 1 << 30, plan.wide_length, np.uint32))


def largest(plan: EncodingPlan) -> Vector:
    """Every number at the top of its ring: adding two wraps, and the carry runs through every limb."""
    ring = np.full(plan.vector_length, (1 << plan.ring_bits) - 1, plan.lane)
    return Vector(ring, np.full(plan.wide_length, (1 << 30) - 1, np.uint32))


def assert_equal(found: Vector, wanted: Vector) -> None:
    assert (found.ring.dtype, found.wide.dtype) == (wanted.ring.dtype, wanted.wide.dtype)
    np.testing.assert_array_equal(found.ring, wanted.ring)
    np.testing.assert_array_equal(found.wide, wanted.wide)


@settings(deadline=None)
@given(plans(), st.lists(st.integers(0, 2**32), max_size=6), st.booleans())
def test_addition_is_that_of_python_integers(plan: EncodingPlan, seeds: list[int], top: bool) -> None:
    vectors = [any_vector(plan, seed) for seed in seeds] + [largest(plan)] * (2 * top) + [Vector.zeros(plan)]
    before = [pack_vector(vector, plan) for vector in vectors]
    total = Vector.zeros(plan)
    for vector in vectors:
        total.add(vector, plan)
        assert int(total.wide.max()) < 1 << 30, "the carries are through after every single addition"
    total.reduce(plan)
    total.check(plan)
    assert_equal(total, vector_sum(plan, vectors))
    assert [pack_vector(vector, plan) for vector in vectors] == before, "what was added is as it was"


@given(plans(), st.tuples(*[st.integers(0, 2**32)] * 3))
def test_the_order_and_the_grouping_of_a_sum_do_not_matter(plan: EncodingPlan, seeds: tuple[int, int, int]) -> None:
    packed = set()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        left, middle, right = (any_vector(plan, seeds[at]) for at in order)
        middle.add(right, plan)
        left.add(middle, plan)
        left.reduce(plan)
        packed.add(pack_vector(left, plan))
    assert len(packed) == 1


def test_a_vector_may_be_added_to_itself() -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (5,)), TensorSpec("n", "int64", (3,))), parties=4)
    vector = any_vector(plan, 1)
    doubled = vector_sum(plan, [vector, vector])
    vector.add(vector, plan)
    assert_equal(vector, doubled)


@pytest.mark.parametrize("ring_bits", RINGS)
def test_reduce_takes_the_ring_part_mod_2_b_and_leaves_the_wide_part(ring_bits: int) -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (9,)),), parties=3, ring_bits=ring_bits)
    vector, total = largest(plan), Vector.zeros(plan)
    for _ in range(5):
        total.add(vector, plan)
    wide = total.wide.copy()
    total.reduce(plan)
    assert total.ring.tolist() == [(1 << ring_bits) - 5] * 9
    assert (total.wide == wide).all()
    assert wide.tolist() == wide_of(plan, [-5] * len(numbers_of(plan, wide))).tolist()


@pytest.mark.parametrize("ring_bits", RINGS)
def test_every_ring_comes_back_from_its_bytes(ring_bits: int) -> None:
    for size in (0, 1, 2, 7, 8, 9, 40):
        tensors = TensorSpec("w", "float32", (size,)), TensorSpec("n", "int64", (2,))
        plan = EncodingPlan(tensors, parties=3, ring_bits=ring_bits, metric_slots=2)
        for vector in (any_vector(plan, size), Vector.zeros(plan), largest(plan)):
            data = pack_vector(vector, plan)
            assert isinstance(data, bytes)
            assert len(data) == payload_bytes(plan) == packed_bytes(size, ring_bits) + 4 * plan.wide_length
            assert data == pack(vector.ring, ring_bits) + b"".join(limb.to_bytes(4, "little") for limb in vector.wide.tolist())
            for view in (data, memoryview(data), memoryview(data).cast("B", (len(data),))):
                back = unpack_vector(view, plan)
                back.check(plan)
                assert_equal(back, vector)
                assert pack_vector(back, plan) == data


def test_what_comes_off_the_wire_can_be_summed_in_place() -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (6,)),), parties=3)
    vectors = [any_vector(plan, seed) for seed in range(3)]
    total = Vector.zeros(plan)
    for vector in vectors:
        total.add(unpack_vector(pack_vector(vector, plan), plan), plan)  # the ring part of this one is read-only
    assert_equal(total, vector_sum(plan, vectors))


@pytest.mark.parametrize("ring_bits", [24, 32])
def test_packing_holds_the_result_in_memory_once(ring_bits: int) -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (1_000_000,)),), parties=3, ring_bits=ring_bits)
    vector = any_vector(plan, 1)
    tracemalloc.start()
    try:
        data = pack_vector(vector, plan)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 2_500_000  # a copy would be 2.9 million bytes or more
    finally:
        tracemalloc.stop()


def test_an_evaluation_has_no_ring_part() -> None:
    plan = EncodingPlan((), parties=3, ring_bits=19, metric_slots=1)
    assert len(pack_vector(Vector.zeros(plan), plan)) == 4 * plan.wide_length == payload_bytes(plan)
    assert_equal(unpack_vector(pack_vector(largest(plan), plan), plan), largest(plan))


@pytest.mark.parametrize("ring_bits", [8, 11, 16, 20, 32, 33, 64])
def test_the_length_must_be_exact(ring_bits: int) -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (9,)),), parties=3, ring_bits=ring_bits)
    data = pack_vector(any_vector(plan, 1), plan)
    for wrong in (b"", data[:-1], data[:-4], data[1:], data + b"\0", data + bytes(4)):
        with pytest.raises(DecodeError, match=f"the vector has {len(wrong)} bytes, the plan says {len(data)}"):
            unpack_vector(wrong, plan)
    huge = EncodingPlan((TensorSpec("w", "float32", (1 << 39,)),), parties=3, ring_bits=ring_bits)
    with pytest.raises(DecodeError, match="the plan says"):
        unpack_vector(data, huge)  # an allocation of this size would fail with another error


def test_bytes_are_counted_whatever_the_items_of_a_view_are() -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (8,)),), parties=3)
    vector = any_vector(plan, 1)
    assert_equal(unpack_vector(memoryview(pack_vector(vector, plan)).cast("I"), plan), vector)


def test_a_limb_of_more_than_30_bits_is_refused_in_both_directions() -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (3,)), TensorSpec("n", "int64", (1,))), parties=3, ring_bits=20, metric_slots=1)
    for at in range(plan.wide_length):
        for bit in (30, 31):
            vector = any_vector(plan, at)
            data = bytearray(pack_vector(vector, plan))
            data[packed_bytes(3, 20) + 4 * at + 3] |= 1 << bit - 24
            with pytest.raises(DecodeError, match="a limb of the vector has more than 30 bits"):
                unpack_vector(bytes(data), plan)
            vector.wide[at] |= np.uint32(1 << bit)
            with pytest.raises(LocalError, match="a limb of the vector has more than 30 bits"):
                pack_vector(vector, plan)


@pytest.mark.parametrize("ring_bits", [ring_bits for ring_bits in RINGS if ring_bits % 8])
def test_padding_between_the_parts_must_be_zero(ring_bits: int) -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (3,)),), parties=3, ring_bits=ring_bits)
    end = packed_bytes(3, ring_bits)
    assert 8 * end > 3 * ring_bits
    for bit in range(3 * ring_bits, 8 * end):
        data = bytearray(pack_vector(any_vector(plan, bit), plan))
        data[end - 1] ^= 1 << bit % 8
        with pytest.raises(DecodeError, match="padding and must be zero"):
            unpack_vector(bytes(data), plan)


def test_a_ring_part_that_was_not_reduced_is_refused() -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (3,)),), parties=3, ring_bits=20)
    total = largest(plan)
    total.add(largest(plan), plan)
    with pytest.raises(LocalError, match="reduce it modulo 2\\^ring_bits first"):
        pack_vector(total, plan)
    total.reduce(plan)
    assert_equal(unpack_vector(pack_vector(total, plan), plan), total)


WRONG: dict[str, tuple[Callable[[Vector], Vector], str]] = {
    "ring too long": (lambda v: Vector(np.append(v.ring, v.ring[:1]), v.wide), r"ring part is uint32\[5\], the plan says uint32\[4\]"),
    "ring too short": (lambda v: Vector(v.ring[:-1], v.wide), r"ring part is uint32\[3\]"),
    "ring in two dimensions": (lambda v: Vector(v.ring.reshape(2, 2), v.wide), r"ring part is uint32\[2, 2\]"),
    "ring in another lane": (lambda v: Vector(v.ring.astype(np.uint64), v.wide), r"ring part is uint64\[4\]"),
    "ring signed": (lambda v: Vector(v.ring.view(np.int32), v.wide), r"ring part is int32\[4\]"),
    "wide too long": (lambda v: Vector(v.ring, np.append(v.wide, v.wide[:1])), r"wide part is uint32\["),
    "wide too short": (lambda v: Vector(v.ring, v.wide[:-1]), r"wide part is uint32\["),
    "wide of sums": (lambda v: Vector(v.ring, v.wide.astype(np.int64)), r"wide part is int64\["),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_vector_of_the_plan_is_refused(case: str) -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (4,)),), parties=3, ring_bits=32)
    change, why = WRONG[case]
    wrong = change(any_vector(plan, 1))
    for refuse in (wrong.check, lambda plan: pack_vector(wrong, plan)):
        with pytest.raises(LocalError, match=why):
            refuse(plan)


def test_zeros_is_of_the_plan_and_adds_nothing() -> None:
    for ring_bits, lane in ((8, "uint16"), (16, "uint16"), (17, "uint32"), (32, "uint32"), (33, "uint64"), (64, "uint64")):
        plan = EncodingPlan((TensorSpec("w", "float32", (4,)),), parties=3, ring_bits=ring_bits)
        zeros = Vector.zeros(plan)
        zeros.check(plan)
        assert (zeros.ring.dtype, zeros.wide.dtype) == (np.dtype(lane), np.dtype("uint32"))
        assert not zeros.ring.any()
        assert not zeros.wide.any()
        vector = any_vector(plan, 1)
        zeros.add(vector, plan)
        assert_equal(zeros, vector)


def test_a_vector_prints_no_values_and_is_compared_by_identity() -> None:
    plan = EncodingPlan((TensorSpec("w", "float32", (4,)),), parties=3)
    one, same = any_vector(plan, 1), any_vector(plan, 1)
    assert repr(one) == "Vector()"
    assert one != same
    assert one in [same, one]
