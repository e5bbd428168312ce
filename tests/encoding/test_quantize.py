"""The kernels: clipping with its count, stochastic rounding that is exact in its probabilities, bfloat16 bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan
from stfed.encoding.clip import clip, within
from stfed.encoding.pack import lane_dtype
from stfed.encoding.quantize import TILE, Tile, narrow, widen

from .helpers import Fill, constant, seeded

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.floats(allow_nan=False), max_size=20), st.floats(2.0**-96, 2.0**96))
def test_clip_counts_what_it_cuts(values: list[float], bound: float) -> None:
    array = np.array(values)
    assert within(array, bound) == all(abs(value) <= bound for value in values)
    assert clip(array, bound) == sum(abs(value) > bound for value in values)
    assert array.tolist() == [max(-bound, min(bound, value)) for value in values]


def test_nan_is_not_within() -> None:
    assert not within(np.array([0.0, math.nan, 0.0]), 1.0)


def quantized(values: NDArray[np.float64], scale: float, ring_bits: int, fill: Fill) -> list[int]:
    """The centred representatives of what the kernel writes."""
    out, half = np.empty(values.size, lane_dtype(ring_bits)), 1 << (ring_bits - 1)
    Tile(values.size).quantize(values.copy(), scale, out, ring_bits, fill)
    return [(word + half) % (2 * half) - half for word in out.tolist()]


@pytest.mark.parametrize("threshold", [1, 2, 3, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize("whole", [0, 1, 41, -1, -41])
def test_a_fraction_of_k_in_2_32_rounds_up_for_exactly_k_dithers(threshold: int, whole: int) -> None:
    # monotone in the dither, so the two neighbours of the threshold prove the count
    value = np.array([whole + threshold / 2.0**32] * 2)

    def fill(buffer: NDArray[np.uint8]) -> None:
        buffer.view("<u4")[:] = [2**32 - threshold, 2**32 - threshold - 1]

    for ring_bits in (16, 32, 33, 64):
        assert quantized(value, 1.0, ring_bits, fill) == [whole + 1, whole]


@pytest.mark.parametrize("ring_bits", [8, 16, 17, 32, 33, 53, 64])
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_integers_are_never_changed(ring_bits: int, byte: int) -> None:
    largest = (1 << (ring_bits - 1)) - 1
    if ring_bits > 54:
        largest &= ~0x7FF  # a double holds it
    values = [0, 1, -1, largest, -largest, largest // 2 & ~0x7FF]
    assert quantized(np.array(values, np.float64), 1.0, ring_bits, constant(byte)) == values


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(8, 64), st.integers(0, 255))
def test_rounding_goes_to_a_neighbour_and_stays_within_q(values: list[float], ring_bits: int, byte: int) -> None:
    q = EncodingPlan((), parties=1, ring_bits=ring_bits, clip=1.0).largest_value
    scale = EncodingPlan((), parties=1, ring_bits=ring_bits, clip=1.0).scale
    for value, got in zip(values, quantized(np.array(values), scale, ring_bits, constant(byte)), strict=True):
        assert math.floor(value * scale) <= got <= math.ceil(value * scale)
        assert abs(got) <= q


def test_rounding_is_unbiased_and_has_the_variance_of_a_coin() -> None:
    trials = TILE
    for ring_bits in (16, 32, 64):
        fill = seeded(7)
        for value in (0.5, 0.1, -0.3, 1000.25, -12345.875, 2.0**-10):
            drawn = np.array(quantized(np.full(trials, value), 1.0, ring_bits, fill))
            fraction = value - math.floor(value)
            deviation = math.sqrt(fraction * (1 - fraction))
            assert abs(drawn.mean() - value) < 5 * deviation / math.sqrt(trials)
            assert drawn.std() == pytest.approx(deviation, rel=0.1)


def test_dither_is_independent_between_coordinates() -> None:
    drawn = np.array(quantized(np.full(TILE, 0.5), 1.0, 32, seeded(3)))
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / math.sqrt(TILE)


@given(st.integers(8, 64), st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=10))
def test_dequantize_centres(ring_bits: int, values: list[int]) -> None:
    half = 1 << (ring_bits - 1)
    values = [(value + half) % (2 * half) - half for value in values]
    lane = lane_dtype(ring_bits)
    junk = np.uint64(0xDEAD << ring_bits & (1 << 64) - 1) if ring_bits < 8 * lane.itemsize else np.uint64(0)
    words = (np.array([value % (1 << 64) for value in values], np.uint64) & np.uint64(2 * half - 1) | junk).astype(lane)
    assert Tile(len(values)).dequantize(words, 0.5, ring_bits).tolist() == [float(value) * 0.5 for value in values]


@given(st.lists(FINITE, max_size=50))
def test_bfloat16_bits_are_those_of_torch(values: list[float]) -> None:
    torch = pytest.importorskip("torch")
    array = np.array(values, np.float64)
    bits = np.empty(array.size, np.uint16)
    narrow(array, bits)
    expected = torch.from_numpy(array).float().to(torch.bfloat16)
    assert bits.tolist() == expected.view(torch.int16).numpy().view(np.uint16).tolist()
    assert widen(bits).tolist() == expected.float().tolist()


def test_bfloat16_ties_go_to_even() -> None:
    bits = np.empty(4, np.uint16)
    narrow(np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -0.0]), bits)
    assert widen(bits).tolist() == [1.0, 1 + 2.0**-6, 1 + 2.0**-7, 0.0]
