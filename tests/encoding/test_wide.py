"""WideFormat: exact sums of wide integers, with limbs that never wrap."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding import WideFormat
from stfed.encoding.pack import lane_dtype
from stfed.encoding.wide import fixed_point
from stfed.errors import LocalError


@given(st.data(), st.integers(8, 64), st.integers(0, 1 << 130))
def test_the_sum_of_splits_joins_to_the_sum(data: st.DataObject, ring_bits: int, largest: int) -> None:
    parties = data.draw(st.integers(1, min(1 << (ring_bits - 1), 5000)))
    wide = WideFormat(largest, parties, ring_bits)
    values = data.draw(st.lists(st.integers(0, largest), min_size=1, max_size=min(parties, 6)))
    sums = [sum(column) % (1 << ring_bits) for column in zip(*map(wide.split, values), strict=True)]
    assert wide.join(sums) == sum(values)


@pytest.mark.parametrize("ring_bits", range(8, 65))
@pytest.mark.parametrize("parties", [1, 2, 3, 100, 128, 1024, 5000])
def test_no_limb_wraps_when_all_parties_send_the_largest(ring_bits: int, parties: int) -> None:
    if (parties - 1).bit_length() >= ring_bits:
        with pytest.raises(LocalError, match=f"ring_bits={ring_bits} leaves no bit a limb"):
            WideFormat(1, parties, ring_bits)
        return
    for largest in ((1 << 118) - 1, 1 << 118, 12345):
        wide = WideFormat(largest, parties, ring_bits)
        limbs = wide.split(largest)
        assert parties * ((1 << wide.limb_bits) - 1) < 1 << ring_bits
        assert max(limbs) < 1 << wide.limb_bits
        assert wide.join([parties * limb for limb in limbs]) == parties * largest


def test_the_hint_of_a_refusal_works() -> None:
    with pytest.raises(LocalError) as caught:
        WideFormat(1, 5000, 10)
    bits = int(str(caught.value.hint).rsplit(" ", 1)[1])
    assert WideFormat(1, 5000, bits).limb_bits == 1


def test_zero_needs_no_word() -> None:
    assert WideFormat(0, 10, 32).split(0) == []
    assert WideFormat(0, 10, 32).join([]) == 0


@given(st.data(), st.integers(8, 64))
def test_array_products_equal_integer_products(data: st.DataObject, ring_bits: int) -> None:
    parties = data.draw(st.integers(1, min(1 << (ring_bits - 1), 5000)))
    factor = data.draw(st.integers(0, 1 << 60))
    elements = data.draw(st.lists(st.integers(0, (1 << 33) - 1), max_size=8))
    wide = WideFormat(((1 << 33) - 1) << 60, parties, ring_bits)
    out = np.empty((wide.limbs, len(elements)), lane_dtype(ring_bits))
    wide.split_products(np.array(elements, np.uint64), factor, out)
    assert out.T.tolist() == [wide.split(factor * element) for element in elements]
    assert wide.join_products(out).tolist() == [factor * element for element in elements]


def test_the_array_kernel_holds_at_its_extremes() -> None:
    for ring_bits, parties in ((64, 1), (32, 1), (32, 4), (8, 64)):
        wide = WideFormat(((1 << 33) - 1) << 60, parties, ring_bits)
        out = np.empty((wide.limbs, 1), lane_dtype(ring_bits))
        for factor in (1 << 60, (1 << 60) - 1, 0):
            wide.split_products(np.array([(1 << 33) - 1], np.uint64), factor, out)
            assert wide.join_products(out).tolist() == [factor * ((1 << 33) - 1)]


@given(st.floats(-(2.0**53), 2.0**53), st.integers(0, 40))
def test_fixed_point_is_nearest(value: float, bits: int) -> None:
    assert abs(Fraction(fixed_point(value, bits, "x"), 1 << bits) - Fraction(value)) <= Fraction(1, 2 << bits)


@given(st.integers())
def test_fixed_point_of_an_integer_is_exact(value: int) -> None:
    assert fixed_point(value, 20, "x") == value * 2**20


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, 1j, np.float32(1)])
def test_fixed_point_refuses_what_is_no_finite_number(value: object) -> None:
    with pytest.raises(LocalError, match="the thing is"):
        fixed_point(value, 20, "the thing")
