"""Rotated plans from end to end: the mean within the error bound, what is clipped, and what is refused, as without a rotation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import DecodedSum, EncodingPlan, Vector, decode_sum, encode_update
from stfed.encoding.quantize import TILE
from stfed.encoding.rotation import CHUNK, Rotation
from stfed.errors import LocalError

from .helpers import seeded

ROTATION = Rotation(bytes(range(16)))
Model = dict[str, NDArray[Any]]
EDGES = (CHUNK - 1, CHUNK + 1, CHUNK + 256, TILE - 3, TILE, TILE + 1, TILE + 255, TILE + 300)
LENGTHS = st.one_of(st.integers(0, 700), st.sampled_from(EDGES))


def model(sizes: tuple[int, ...], seed: int, scale: float = 1.0) -> Model:
    """Float tensors of these sizes with an integer one between them, so that ring coordinates span tensors."""
    rng = np.random.default_rng([seed, *sizes])
    dtypes = np.float32, np.float64
    floats: Model = {f"layer {i}": (scale * rng.standard_normal(size)).astype(dtypes[i % 2]) for i, size in enumerate(sizes)}
    return floats | {"seen": np.array([7, 8 + seed])}


def mean(received: Model, trained: list[Model], weights: list[int], **changed: Any) -> tuple[DecodedSum, EncodingPlan]:
    fields = {"value_bits": 12, "rotation": ROTATION, "clip": 16.0, "max_weight": 10.0, "metric_slots": 0}
    plan = EncodingPlan.for_arrays(received, parties=len(trained), **(fields | changed))
    total = Vector.zeros(plan)
    for index, (one, weight) in enumerate(zip(trained, weights, strict=True)):
        update = encode_update(plan, received, one, weight, {}, seeded(index))
        total.add(update.vector, plan)
    total.reduce(plan)
    return decode_sum(plan, total, len(trained), received, update.schema), plan


@given(LENGTHS, st.integers(0, 300), st.integers(1, 4), st.integers(2, 40))
@example(TILE + 5, 0, 3, 10)
@example(300, 0, 1, 62)
@settings(max_examples=30)
def test_the_mean_is_right_within_the_error_bound(first: int, second: int, parties: int, value_bits: int) -> None:
    sizes = first, second
    received = model(sizes, 100)
    trained, weights = [model(sizes, seed) for seed in range(parties)], list(range(1, parties + 1))
    decoded, _ = mean(received, trained, weights, value_bits=min(value_bits, 60))
    assert decoded.clipped == 0
    for name, array in decoded.arrays.items():
        if name == "seen":
            continue
        wanted = np.average([one[name].astype(float) for one in trained], axis=0, weights=weights)
        got = np.asarray(array, float)
        ulp = 2.0**-24 if received[name].dtype == np.float32 else 2.0**-52
        assert np.abs(got - wanted).max(initial=0) <= decoded.error_bound + 8 * ulp


def test_errors_have_the_deviation_that_they_have_without_a_rotation() -> None:
    """And by Hoeffding's inequality hardly one of 20,000 is over 3.6 sqrt(count) units, far under the bound that always holds."""
    sizes = (20_000,)
    received, trained = model(sizes, 100), [model(sizes, seed) for seed in range(9)]
    wanted = np.mean([one["layer 0"].astype(float) for one in trained], axis=0)
    deviation = []
    for rotation in (None, ROTATION):
        decoded, plan = mean(received, trained, [10] * 9, value_bits=6, rotation=rotation)
        units = (np.asarray(decoded.arrays["layer 0"], float) - wanted) / plan.step * 9
        assert np.abs(units).max() < 3.6 * 9**0.5
        deviation.append(units.std())
    assert deviation == pytest.approx([np.sqrt(9 / 6)] * 2, rel=0.03)


def test_rotated_coordinates_are_clipped_and_counted() -> None:
    """A single large change is spread over 256 coordinates before it meets the clip."""
    received = {"w": np.zeros(256, np.float32)}
    spike = {"w": np.zeros(256, np.float32)}
    spike["w"][3] = 15.9
    decoded, _ = mean(received, [spike], [10], clip=1.0)
    assert decoded.clipped == 0
    np.testing.assert_allclose(decoded.arrays["w"], spike["w"], atol=0.02)
    spike["w"][3] = 32.0
    decoded, _ = mean(received, [spike], [10], clip=1.0)
    assert decoded.clipped == 256
    np.testing.assert_allclose(np.asarray(decoded.arrays["w"])[3], 16.0, atol=0.02)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whose", ["trained", "received"])
def test_what_is_not_finite_is_refused_by_name_although_it_spreads(bad: float, whose: str) -> None:
    models = {"received": model((300, 40), 1), "trained": model((300, 40), 2)}
    models[whose]["layer 1"][17] = bad
    with pytest.raises(LocalError, match=f"tensor 'layer 1' of the {whose} model has NaN or infinity"):
        mean(models["received"], [models["trained"]], [1])


@pytest.mark.parametrize("before", [0.0, 1.7e308, -1.7e308])
def test_changes_beyond_all_bounds_are_clipped_and_no_refusal(before: float) -> None:
    """In a rotated block they overflow to infinity minus infinity. A refusal would tell the coordinator about the trained numbers."""
    received = {"w": np.full(512, before)}
    trained = {"w": np.where(np.arange(512) % 3 == 0, 1.7e308, -1.7e308)}
    decoded, _ = mean(received, [trained], [10])
    assert 0 < decoded.clipped <= 512
    assert np.isfinite(np.asarray(decoded.arrays["w"])).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("parties", [2, 3, 255, 256])
def test_the_largest_sum_does_not_wrap(sign: int, parties: int) -> None:
    """Everybody over the clip in every rotated coordinate, with the largest weight and the smallest ring."""
    received, far = {"w": np.zeros(300)}, np.full(300, 1e6 * sign)
    ROTATION.backward(far, 0)
    decoded, plan = mean(received, [{"w": far}] * parties, [10] * parties, value_bits=8, clip=1.0)
    assert plan.ring_bits == {2: 10, 3: 10, 255: 16, 256: 17}[parties]
    assert decoded.clipped == 300 * parties
    rotated = np.asarray(decoded.arrays["w"]).copy()
    ROTATION.forward(rotated, 0)
    np.testing.assert_allclose(rotated, sign, rtol=1e-9)
