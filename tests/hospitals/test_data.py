"""The hospitals' data: dealt out once, completely, unevenly, and the same way every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.hospitals.data import FLOOR, Samples, load, partitions, public_test


def rows(samples: Samples) -> set[bytes]:
    """Every sample as bytes; no two samples of the breast-cancer data are equal."""
    return {x.numpy().tobytes() for x in samples.x}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 25), st.sampled_from([0.05, 0.5, 100.0]), st.integers(0, 2**32))
def test_every_sample_goes_to_exactly_one_place(num_parties: int, alpha: float, seed: int) -> None:
    whole = load("breast-cancer")
    parts = [
        public_test("breast-cancer", seed),
        *(half for split in partitions("breast-cancer", num_parties, alpha, seed) for half in split),
    ]
    assert sum(len(part.y) for part in parts) == len(whole.y) == 569
    assert set().union(*map(rows, parts)) == rows(whole)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 25), st.sampled_from([0.05, 0.5]), st.integers(0, 2**32))
def test_every_party_has_its_floor_and_something_on_both_sides(num_parties: int, alpha: float, seed: int) -> None:
    for split in partitions("breast-cancer", num_parties, alpha, seed):
        assert len(split.train.y) + len(split.test.y) >= FLOOR
        assert len(split.train.y) > len(split.test.y) >= 1


def test_the_split_is_a_function_of_its_arguments() -> None:
    def digest(*arguments: object) -> list[set[bytes]]:
        partitions.cache_clear()
        public_test.cache_clear()
        return [rows(half) for split in partitions(*arguments) for half in split]  # type: ignore[arg-type]

    first = digest("breast-cancer", 5, 0.5, 7)
    assert first == digest("breast-cancer", 5, 0.5, 7)
    assert first != digest("breast-cancer", 5, 0.5, 8)
    assert first != digest("breast-cancer", 5, 0.4, 7)


def test_a_smaller_alpha_is_less_even() -> None:
    def unevenness(alpha: float) -> float:
        shares = [split.train.y.double().mean().item() for seed in range(5) for split in partitions("breast-cancer", 10, alpha, seed)]
        return float(np.std(shares))

    assert unevenness(0.1) > 1.3 * unevenness(1.0) > 1.3 * unevenness(100.0)


@pytest.mark.parametrize(
    ("dataset", "shape", "classes", "limit"),
    [("breast-cancer", (569, 30), 2, 2.0), ("digits", (1797, 1, 8, 8), 10, 0.5), ("mnist", (5000, 1, 28, 28), 10, 0.5)],
)
def test_features_are_scaled_by_public_constants(dataset: str, shape: tuple[int, ...], classes: int, limit: float) -> None:
    x, y = load(dataset)
    assert (tuple(x.shape), x.dtype, y.dtype) == (shape, torch.float32, torch.int64)
    assert (x.min().item(), x.max().item()) == (-limit, limit)
    assert sorted(set(y.tolist())) == list(range(classes))


def test_every_breast_cancer_feature_fills_its_published_range() -> None:
    x, _ = load("breast-cancer")  # a swapped column in the table of limits would show here
    assert x.min(0).values.max() < -1.4
    assert x.max(0).values.min() > 1.9


def test_unknown_data_and_too_many_parties_are_refused() -> None:
    with pytest.raises(ValueError, match="no data set 'iris': choose breast-cancer, digits or mnist"):
        load("iris")
    with pytest.raises(ValueError, match="455 samples to deal: too few for 57 parties with at least 8 each"):
        partitions("breast-cancer", 57, 0.5, 7)
    assert len(partitions("breast-cancer", 56, 0.5, 7)) == 56
