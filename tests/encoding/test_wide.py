"""WideFormat and carry: exact sums of wide integers, which say nothing about how they are made up."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import WideFormat
from stfed.encoding.wide import LIMB_BITS, LIMB_MASK, carry, exact, nearest
from stfed.errors import LocalError

LIMB = st.one_of(st.sampled_from([0, 1, LIMB_MASK]), st.integers(0, LIMB_MASK))
MOST_TERMS = (1 << 32) - 1


@given(st.data(), st.integers(0, 1 << 130), st.integers(1, 5000))
def test_the_carried_sum_of_splits_joins_to_the_sum(data: st.DataObject, largest: int, parties: int) -> None:
    wide = WideFormat(largest, parties)
    values = data.draw(st.lists(st.integers(0, largest), min_size=1, max_size=min(parties, 6)))
    sums = np.array([wide.split(value) for value in values], np.int64).sum(axis=0)
    assert wide.join(carry(sums, [(wide.limbs, 1)]).tolist()) == sum(values)


@pytest.mark.parametrize("parties", [1, 2, 3, 100, 1024, 5000, 1 << 24])
@pytest.mark.parametrize("largest", [1, 12345, (1 << 30) - 1, 1 << 30, (1 << 90) - 1, (1 << 118) - 1, 1 << 118])
def test_the_limbs_hold_the_sum_of_all_parties_and_there_is_none_too_many(parties: int, largest: int) -> None:
    wide = WideFormat(largest, parties)
    limbs = wide.split(largest)
    assert len(limbs) == wide.limbs
    assert max(limbs) < 1 << LIMB_BITS
    sums = np.array(limbs, np.int64) * parties
    assert wide.join(carry(sums, [(wide.limbs, 1)]).tolist()) == parties * largest
    assert parties * largest >> LIMB_BITS * (wide.limbs - 1) > 0


def test_zero_needs_no_word() -> None:
    assert WideFormat(0, 10).split(0) == []
    assert WideFormat(0, 10).join([]) == 0


@given(st.data(), st.integers(1, 5000))
def test_array_products_equal_integer_products(data: st.DataObject, parties: int) -> None:
    factor = data.draw(st.integers(0, 1 << 60))
    elements = data.draw(st.lists(st.integers(0, (1 << 33) - 1), max_size=8))
    wide = WideFormat(((1 << 33) - 1) << 60, parties)
    out = np.empty((wide.limbs, len(elements)), np.uint32)
    wide.split_products(np.array(elements, np.uint64), factor, out)
    assert out.T.tolist() == [wide.split(factor * element) for element in elements]
    assert wide.join_products(out).tolist() == [factor * element for element in elements]


@pytest.mark.parametrize("factor", [1 << 60, (1 << 60) - 1, LIMB_MASK, 0])
def test_the_array_kernel_holds_at_its_extremes(factor: int) -> None:
    wide = WideFormat(((1 << 33) - 1) << 60, 4)
    out = np.empty((wide.limbs, 1), np.uint32)
    wide.split_products(np.array([(1 << 33) - 1], np.uint64), factor, out)
    assert wide.join_products(out).tolist() == [factor * ((1 << 33) - 1)]


def numbers(limbs: NDArray[Any], groups: list[tuple[int, int]]) -> list[list[int]]:
    """Python integers, by group; of any limbs, carried through or not."""
    found, at = [], 0
    for places, count in groups:
        rows = limbs[at : at + places * count].reshape(places, count).tolist()
        found.append([sum(row[index] << LIMB_BITS * place for place, row in enumerate(rows)) for index in range(count)])
        at += places * count
    assert at == limbs.size
    return found


@given(st.data(), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=4))
def test_carry_is_arithmetic_modulo_2_to_the_bits_of_each_number(data: st.DataObject, groups: list[tuple[int, int]]) -> None:
    size = sum(limbs * count for limbs, count in groups)
    terms = data.draw(st.lists(st.tuples(st.sampled_from([1, -1]), st.lists(LIMB, min_size=size, max_size=size)), max_size=6))
    sums = np.zeros(size, np.int64)
    for sign, limbs in terms:
        sums += sign * np.array(limbs, np.int64)
    before = sums.copy()
    carried = carry(sums, groups)
    assert (carried.dtype, carried.shape) == (np.dtype(np.uint32), sums.shape)
    assert int(carried.max(initial=0)) <= LIMB_MASK
    assert (sums == before).all(), "the caller's sums are left as they are"
    expected = [[0] * count for _, count in groups]
    for sign, limbs in terms:
        for group, term in zip(expected, numbers(np.array(limbs, np.int64), groups), strict=True):
            group[:] = [left + sign * right for left, right in zip(group, term, strict=True)]
    for found, group, (places, _) in zip(numbers(carried, groups), expected, groups, strict=True):
        assert found == [number % (1 << LIMB_BITS * places) for number in group]
    assert (carry(carried.astype(np.int64), groups) == carried).all(), "what is carried through stays as it is"


@given(st.lists(st.integers(-MOST_TERMS * LIMB_MASK, MOST_TERMS * LIMB_MASK), min_size=1, max_size=12))
@example([MOST_TERMS * LIMB_MASK] * 12)
@example([-MOST_TERMS * LIMB_MASK] * 12)
def test_carry_does_not_overflow_at_the_stated_number_of_terms(sums: list[int]) -> None:
    number = sum(limb << LIMB_BITS * place for place, limb in enumerate(sums))
    (found,) = numbers(carry(np.array(sums, np.int64), [(len(sums), 1)]), [(len(sums), 1)])
    assert found == [number % (1 << LIMB_BITS * len(sums))]


def test_a_borrow_runs_through_all_limbs_and_stops_at_the_number() -> None:
    groups = [(1, 1), (3, 2), (0, 5), (1, 1)]
    sums = np.array([7, -1, 5, 0, 0, 0, 0, 7])  # numbers 7, (-1, 5), five of no limb, 7; a group lies limb by limb
    assert carry(sums, groups).tolist() == [7, LIMB_MASK, 5, LIMB_MASK, 0, LIMB_MASK, 0, 7]
    sums = np.array([LIMB_MASK + 1, LIMB_MASK, 5, LIMB_MASK, 0, LIMB_MASK + 1, 0, 7])
    assert carry(sums, groups).tolist() == [0, LIMB_MASK, 5, LIMB_MASK, 0, 0, 0, 7]


def test_groups_that_do_not_cover_the_words_are_a_bug_of_the_caller() -> None:
    for groups in ([(2, 1)], [(2, 2)], []):
        with pytest.raises((AssertionError, ValueError)):
            carry(np.zeros(3, np.int64), groups)


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
@example(10**400)
@example(5e-324)
def test_exact_is_the_very_number(value: float) -> None:
    assert exact(value, "x") == Fraction(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, 1j, np.float32(1), [1]])
def test_exact_refuses_what_is_no_finite_number(value: object) -> None:
    with pytest.raises(LocalError, match="the thing is"):
        exact(value, "the thing")


@given(st.fractions())
@example(Fraction(1, 2))
@example(Fraction(-1, 2))
@example(Fraction(-3, 2))
def test_nearest_goes_up_at_a_tie(value: Fraction) -> None:
    assert nearest(value) == math.floor(value + Fraction(1, 2))
