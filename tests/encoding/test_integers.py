"""Integer and bool tensors: exact means, their limits, and the rules at a tie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan, decode_sum, encode_update
from stfed.encoding.arrays import INTEGER_CHANGE

from .helpers import INTEGERS, constant, vector_sum


def mean(received: NDArray[Any], models: Sequence[NDArray[Any]], weights: Sequence[float], ring_bits: int = 32) -> NDArray[Any]:
    plan = EncodingPlan.for_arrays({"n": received}, parties=len(models), ring_bits=ring_bits)
    updates = [encode_update(plan, {"n": received}, {"n": model}, w, {}, constant(0)) for model, w in zip(models, weights, strict=True)]
    result = decode_sum(plan, vector_sum(plan, [u.vector for u in updates]), len(models), {"n": received}, updates[0].schema)
    return np.asarray(result.arrays["n"])


@settings(deadline=None)
@given(st.data(), st.sampled_from(INTEGERS), st.integers(8, 64))
def test_counters_are_exact(data: st.DataObject, dtype: str, ring_bits: int) -> None:
    info, most = np.iinfo(dtype), INTEGER_CHANGE[dtype]
    start = data.draw(st.integers(int(info.min), int(info.max)))
    near = st.integers(max(int(info.min), start - most), min(int(info.max), start + most))
    values = data.draw(st.lists(near, min_size=1, max_size=5))
    weights = data.draw(st.lists(st.integers(1, 10_000), min_size=len(values), max_size=len(values)))
    got = mean(np.array([start], dtype), [np.array([value], dtype) for value in values], weights, ring_bits)
    total = sum(weights)
    assert got.dtype == dtype
    assert int(got[0]) == (2 * sum(w * v for w, v in zip(weights, values, strict=True)) + total) // (2 * total)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_a_change_over_the_bound_counts_as_the_bound_and_is_counted(dtype: str) -> None:
    info, bound = np.iinfo(dtype), 2**32 - 1
    low, high, zero = int(info.min), int(info.max), max(0, int(info.min))
    for before, after, near in (
        (low, high, low + bound),
        (high, low, high - bound),
        (zero, zero + bound + 1, zero + bound),
        (zero + bound + 1, zero, zero + 1),
        (low, low + bound, low + bound),
        (high, high - bound, high - bound),
    ):
        received, trained = {"n": np.array([before, 5], dtype)}, {"n": np.array([after, 6], dtype)}
        plan = EncodingPlan.for_arrays(received, parties=2, ring_bits=16)
        update = encode_update(plan, received, trained, 3, {}, constant(0))
        assert update.clipped == (near != after)
        for count in (1, 2):
            result = decode_sum(plan, vector_sum(plan, [update.vector] * count), count, received, update.schema)
            assert np.asarray(result.arrays["n"]).tolist() == [near, 6]
            assert result.clipped == count * update.clipped


@given(st.data(), st.sampled_from(["int64", "uint64"]), st.integers(1, 10_000))
def test_only_the_distance_decides_what_is_clipped(data: st.DataObject, dtype: str, weight: int) -> None:
    info, bound = np.iinfo(dtype), 2**32 - 1
    anything = st.integers(int(info.min), int(info.max))
    pairs = data.draw(st.lists(st.tuples(anything, st.one_of(anything, st.integers(-bound - 2, bound + 2))), min_size=1, max_size=5))
    starts, ends = zip(*((start, min(int(info.max), max(int(info.min), end))) for start, end in pairs), strict=True)
    received, trained = {"n": np.array(starts, dtype)}, {"n": np.array(ends, dtype)}
    plan = EncodingPlan.for_arrays(received, parties=1)
    update = encode_update(plan, received, trained, weight, {}, constant(0))
    assert update.clipped == sum(abs(end - start) > bound for start, end in zip(starts, ends, strict=True))
    result = decode_sum(plan, update.vector, 1, received, update.schema)
    expected = [start + max(-bound, min(bound, end - start)) for start, end in zip(starts, ends, strict=True)]
    assert np.asarray(result.arrays["n"]).tolist() == expected


def test_equal_parties_give_their_value_and_fractional_weights_are_exact() -> None:
    start = np.array([5, -7, 0])
    assert mean(start, [start + 3] * 4, [0.1, 2.5, 0.0, 9999.9]).tolist() == [8, -4, 3]
    assert mean(start, [start, start + 4], [0.25, 0.75]).tolist() == [8, -4, 3]


def test_ties_go_up() -> None:
    assert mean(np.array([0, 1]), [np.array([0, -1]), np.array([1, 0])], [1, 1]).tolist() == [1, 0]


@pytest.mark.parametrize("start", [False, True])
def test_bool_is_the_weighted_majority_and_true_at_a_tie(start: bool) -> None:
    received = np.array(start)
    for votes, weights, expected in [
        ((True, False, False), (1, 1, 1), False),
        ((True, False, False), (3, 1, 1), True),
        ((True, False), (1, 1), True),
        ((False, False), (1, 1), False),
        ((True, True), (1, 2), True),
    ]:
        got = mean(received, [np.array(vote) for vote in votes], weights)
        assert (got.dtype, got.shape, bool(got)) == (np.dtype(bool), (), expected)


def test_many_tiles() -> None:
    start = np.zeros(140_000, np.int16)
    trained = np.arange(140_000).astype(np.int16)
    np.testing.assert_array_equal(mean(start, [trained], [3]), trained)
