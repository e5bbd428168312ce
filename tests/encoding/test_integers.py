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
from stfed.errors import LocalError

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
def test_changes_that_would_wrap_in_64_bits_are_refused(dtype: str) -> None:
    info = np.iinfo(dtype)
    low, high = np.array([info.min], dtype), np.array([info.max], dtype)
    for before, after in ((low, high), (high, low), (low, low + np.array(2**32, dtype)), (low + np.array(2**32, dtype), low)):
        with pytest.raises(LocalError, match=f"'n' \\({dtype}\\): an element changed by more than 4294967295"):
            mean(before, [after], [1])
    for before in (low, high):
        step = np.array(2**32 - 1, dtype)
        after = before + step if before is low else before - step
        assert mean(before, [after], [1])[0] == after[0]


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
