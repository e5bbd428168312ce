"""Sums with noise: what every party's integers keep to, what the sum decodes to, and that nothing else is in the vector."""

from __future__ import annotations

import math
from contextlib import suppress
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.dp.fitting import fit
from stfed.encoding import EncodedUpdate, EncodingPlan, Update, decode_sum, encode_update
from stfed.encoding.noise import Bounded, fewest_headroom, wrap_probability_log2
from stfed.encoding.rotation import Rotation
from stfed.encoding.vector import Vector
from stfed.errors import DecodeError, LocalError
from tests.encoding.helpers import seeded

ROTATION = Rotation(bytes(range(16)))
Model = dict[str, NDArray[np.generic]]


def model(size: int = 300, value: float = 0.0) -> Model:
    return {"w": np.full(size, value, np.float32), "steps": np.full((), 7, np.int64), "b": np.full((2, 3), value, np.float64)}


def noised(
    parties: int = 10, arrays: Model | None = None, *, z: float = 1.0, corrupt: int = 1, rotated: bool = True, **fields: object
) -> EncodingPlan:
    plan = EncodingPlan.for_arrays(
        model() if arrays is None else arrays,
        parties=parties,
        max_weight=1,
        uniform=True,
        metric_slots=0,
        rotation=ROTATION if rotated else None,
    )
    settings: dict[str, object] = {"l2_clip": 1.0, "survivors": parties - 1} | fields
    return fit(plan, noise_multiplier=z, corrupt=corrupt, **settings)  # type: ignore[arg-type]


def numbers(plan: EncodingPlan, encoded: EncodedUpdate) -> NDArray[np.int64]:
    """The centred representatives of a vector's ring part."""
    unused = 8 * plan.lane.itemsize - plan.ring_bits
    shifted = encoded.vector.ring << plan.lane.type(unused)
    return (shifted.view(f"i{plan.lane.itemsize}") >> unused).astype(np.int64)


def encoded(plan: EncodingPlan, trained: Model, seed: int = 1, metrics: dict[str, float] | None = None) -> EncodedUpdate:
    received = {name: np.zeros_like(value) if name != "steps" else value for name, value in model().items()}
    return encode_update(plan, {name: received[name] for name in trained}, trained, 5, metrics or {}, seeded(seed))


def bounded(plan: EncodingPlan, norm_bound_squared: int) -> EncodingPlan:
    """The plan with a bound that its constructor refuses: what rounding does with any bound is a question of its own."""
    assert plan.noise is not None
    other = copy(plan)
    object.__setattr__(other, "noise", replace(plan.noise, norm_bound_squared=norm_bound_squared))
    return other


def quiet(plan: EncodingPlan) -> EncodingPlan:
    """The plan with as good as no noise, so that a test can look at what is under it."""
    assert plan.noise is not None
    return replace(plan, noise=replace(plan.noise, share_variance=1e-9))


@pytest.mark.parametrize("rotated", [True, False])
def test_an_update_is_scaled_down_to_the_clip_as_a_whole(rotated: bool) -> None:
    plan = quiet(noised(rotated=rotated))
    assert plan.noise is not None
    long = model(value=0.5)
    vector = numbers(plan, encoded(plan, long))
    square = int(np.dot(vector, vector))
    assert square <= plan.noise.norm_bound_squared
    assert math.sqrt(square) == pytest.approx(plan.scale, rel=0.02)
    short = {**model(value=0.001), "steps": np.array(9)}
    assert math.sqrt(np.dot(*[numbers(plan, encoded(plan, short))] * 2)) < 0.1 * plan.scale


def test_the_norm_of_the_integers_is_what_is_checked() -> None:
    plan = quiet(noised())
    assert plan.noise is not None
    vector = numbers(plan, encoded(plan, model(value=1.0)))
    square = int(np.dot(vector, vector))
    # Another rounding may be shorter; a bound far below all of them is never met, and then nothing is sent.
    impossible = bounded(plan, square // 2)
    with pytest.raises(LocalError, match="100 roundings"):
        encoded(impossible, model(value=1.0))
    tight = bounded(plan, square)
    again = numbers(tight, encoded(tight, model(value=1.0), seed=2))
    assert int(np.dot(again, again)) <= square


def test_a_rounding_that_is_too_long_is_done_again_with_other_noise() -> None:
    plan = quiet(noised())
    assert plan.noise is not None
    squares = []
    for seed in range(40):
        vector = numbers(plan, encoded(plan, model(value=1.0), seed))
        squares.append(int(np.dot(vector, vector)))
    median = sorted(squares)[len(squares) // 2]
    tight = bounded(plan, median)
    for seed in range(10):
        vector = numbers(tight, encoded(tight, model(value=1.0), seed))
        assert int(np.dot(vector, vector)) <= median


def test_what_every_party_adds_has_the_variance_of_the_plan() -> None:
    plan = noised(arrays={"w": np.zeros(20_000, np.float32)}, z=2.0)
    assert plan.noise is not None
    update = encode_update(plan, {"w": np.zeros(20_000, np.float32)}, {"w": np.zeros(20_000, np.float32)}, 1, {}, seeded(3))
    found = numbers(plan, update)
    assert abs(found.mean()) < 5 * math.sqrt(plan.noise.share_variance / found.size)
    assert found.var() == pytest.approx(plan.noise.share_variance, rel=0.05)


@pytest.mark.parametrize("corrupt", [0, 1, 3])
@pytest.mark.parametrize("z", [0.3, 1.0, 8.0])
def test_the_fit_gives_the_multiplier_that_was_asked_for_and_hardly_more(z: float, corrupt: int) -> None:
    plan = noised(z=z, corrupt=corrupt)
    assert plan.noise is not None
    assert z <= plan.noise.multiplier(corrupt) <= z * (1 + 1e-9)
    honest = plan.noise.survivors - corrupt
    # what the noise of the sum is to the model: z C, but for the little that rounding costs
    assert math.sqrt(honest * plan.noise.share_variance) / plan.scale == pytest.approx(z * plan.noise.clip, rel=0.03)


@given(
    parties=st.integers(3, 2000),
    size=st.integers(1, 10_000),
    z=st.floats(0.05, 20.0),
    l2_clip=st.floats(1e-3, 1e3),
    norm_bit=st.booleans(),
)
def test_a_fitted_plan_leaves_room_for_all_numbers_and_all_noise(parties: int, size: int, z: float, l2_clip: float, norm_bit: bool) -> None:
    plan = noised(parties, {"w": np.zeros(size, np.float32)}, z=z, l2_clip=l2_clip, norm_bit=norm_bit)
    noise = plan.noise
    assert noise is not None
    assert parties * (plan.largest_value + 1) + noise.headroom <= (1 << (plan.ring_bits - 1)) - 1
    assert noise.headroom >= fewest_headroom(parties * noise.share_variance, plan.vector_length)
    assert EncodingPlan.decode(plan.encode()) == plan
    fine = max(4 * math.sqrt(plan.vector_length), 256)
    assert plan.largest_value >= fine, "the clip is so many units"
    with suppress(LocalError):  # the next smaller ring has no room, or is too coarse
        assert noised(parties, {"w": np.zeros(size, np.float32)}, z=z, ring_bits=plan.ring_bits - 1).largest_value < fine


@given(variance=st.floats(1e-3, 1e9), coordinates=st.integers(1, 1 << 30))
def test_the_headroom_is_the_smallest_with_its_probability(variance: float, coordinates: int) -> None:
    headroom = fewest_headroom(variance, coordinates)
    assert wrap_probability_log2(headroom, variance, coordinates) <= -40
    assert headroom == 1 or wrap_probability_log2(headroom - 1, variance, coordinates) > -40


@pytest.mark.parametrize(("variance", "headroom"), [(0.5, 3), (4.0, 9), (100.0, 35)])
def test_the_bound_on_the_tail_is_one(variance: float, headroom: int) -> None:
    """Against the tail summed term by term."""
    half = variance / 2
    log_poisson = [k * math.log(half) - half - math.lgamma(k + 1) for k in range(400)]
    tail = sum(math.exp(a + b) for i, a in enumerate(log_poisson) for j, b in enumerate(log_poisson) if i - j >= headroom and a + b > -80)
    assert math.log2(2 * tail) <= wrap_probability_log2(headroom, variance, 1) <= math.log2(2 * tail) + 6


def total_of(plan: EncodingPlan, updates: list[EncodedUpdate]) -> Vector:
    total = Vector.zeros(plan)
    for update in updates:
        total.add(update.vector, plan)
    total.reduce(plan)
    return total


@pytest.mark.parametrize("rotated", [True, False])
def test_the_mean_is_that_of_the_clipped_updates_and_the_noise(rotated: bool) -> None:
    scalars = (Bounded("accuracy", 0.0, 1.0), Bounded("loss", 0.0, 10.0))
    plan = noised(8, z=0.02, rotated=rotated, scalars=scalars, norm_bit=True, scalar_share=1.0)
    received = model()
    parties = [{**model(value=0.01 * (party + 1)), "steps": np.array(100)} for party in range(8)]
    updates = [
        encode_update(plan, received, trained, 3, {"accuracy": party / 8, "loss": 20.0, "other": 1e9, "num-examples": 3}, seeded(party))
        for party, trained in enumerate(parties)
    ]
    assert all(update.schema.names == () and update.clipped == 0 for update in updates)
    decoded = decode_sum(plan, total_of(plan, updates), 8, received, updates[0].schema)
    coordinates = 306
    shrunk = [min(1.0, 1.0 / (0.01 * (party + 1) * math.sqrt(coordinates))) * 0.01 * (party + 1) for party in range(8)]
    deviation = 0.02 * plan.noise.clip / 8 * 1.2 if plan.noise else 0.0
    assert np.abs(decoded.arrays["w"] - np.mean(shrunk)).max() < 6 * deviation
    assert decoded.arrays["w"].mean() == pytest.approx(np.mean(shrunk), abs=deviation)
    assert decoded.arrays["steps"] == 7, "an integer tensor stays as it was received"
    assert decoded.metrics.keys() == {"accuracy", "loss"}
    assert decoded.metrics["accuracy"] == pytest.approx(np.mean([party / 8 for party in range(8)]), abs=0.1)
    assert decoded.metrics["loss"] == pytest.approx(10.0, abs=1.0), "what is over its bound counts as the bound"
    within = sum(0.01 * (party + 1) * math.sqrt(coordinates) <= 1.0 for party in range(8)) / 8
    assert decoded.within == pytest.approx(within, abs=0.1)


def test_nothing_else_about_a_party_is_in_its_vector() -> None:
    plan = noised()
    received = model()
    wide = [
        encode_update(plan, received, trained, weight, {"loss": weight, "losses": 1.0}, seeded(1)).vector.wide
        for weight, trained in ((1, model(value=100.0)), (10**6, {**model(), "steps": np.array(123)}))
    ]
    assert (wide[0] == wide[1]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_update_that_is_not_finite_counts_as_none(value: float) -> None:
    """A refusal would be one bit about the data, without noise, whenever the coordinator asks for it."""
    plan = quiet(noised())
    trained = model(value=1.0)
    trained["b"] = np.array([[1.0, value, 0.0], [0.0, 0.0, 0.0]])
    assert not numbers(plan, encoded(plan, trained)).any()
    with pytest.raises(LocalError, match=r"'w'.*received"):
        encode_update(plan, {**model(), "w": np.full(300, value, np.float32)}, model(), 1, {}, seeded(1))


def test_a_bound_below_what_rounding_takes_is_no_plan() -> None:
    """It would be an oracle: whose update is longer than the bound cannot send one, and that is seen."""
    plan = noised()
    assert plan.noise is not None
    with pytest.raises(LocalError, match="less than what rounding takes"):
        replace(plan, noise=replace(plan.noise, norm_bound_squared=plan.noise.norm_bound_squared - 1))


def test_an_update_whose_norm_no_double_holds_counts_as_none() -> None:
    arrays: Model = {"w": np.zeros(300)}
    plan = quiet(noised(arrays=arrays))
    update = encode_update(plan, {"w": np.full(300, -1e308)}, {"w": np.full(300, 1e308)}, 1, {}, seeded(1))
    assert not numbers(plan, update).any()


def test_a_metric_that_is_nan_counts_as_the_middle() -> None:
    assert Bounded("accuracy", 0.0, 1.0).centred(float("nan")) == 0.0
    for low, high in ((-1.7e308, 1.7e308), (-1e308, 0.7e308), (0.0, math.inf)):
        with pytest.raises(LocalError, match="bounded by"):
            Bounded("loss", low, high)


@pytest.mark.parametrize("metrics", [{}, {"accuracy": "high"}, {"accuracy": True}])
def test_a_bounded_metric_must_be_there_and_a_number(metrics: dict[str, object]) -> None:
    plan = noised(scalars=(Bounded("accuracy", 0.0, 1.0),))
    with pytest.raises(LocalError, match="'accuracy'"):
        Update(plan, model(), model(), 1, metrics, seeded(1))


def test_what_is_pinned_is_all_but_what_follows_from_the_cohort() -> None:
    plan = noised()
    for same in (noised(20), noised(z=3.0), noised(survivors=5)):
        assert same.pinned() == plan.pinned()
    others = [noised(rotated=False), noised(norm_bit=True), noised(scalars=(Bounded("a", 0, 1),)), noised(scalars=(Bounded("a", 0, 2),))]
    others += [noised(arrays={"w": np.zeros(5, np.float32)}), replace(plan, noise=None)]
    for moves in (False, True):
        assert len({other.pinned(clip_may_move=moves) for other in [plan, *others]}) == 1 + len(others)
    assert noised(l2_clip=0.3).pinned() != plan.pinned()
    assert noised(l2_clip=0.3).pinned(clip_may_move=True) == plan.pinned(clip_may_move=True)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"uniform": False, "max_weight": 5.0}, "uniform weights"),
        ({"metric_slots": 1}, "no metric slots"),
        ({"value_bits": 8}, "no value_bits"),
        ({"ring_bits": 41}, "over 40"),
        ({"ring_bits": 12}, "no room|wrap"),
        ({"parties": 8}, "9 of 8 parties"),
    ],
)
def test_settings_that_do_not_go_with_noise(settings: dict[str, object], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        replace(noised(), **settings)  # type: ignore[arg-type]


def test_a_ring_that_wraps_too_often_is_refused_also_by_the_decoder() -> None:
    plan = noised()
    assert plan.noise is not None
    with pytest.raises(LocalError, match="wrap with probability"):
        replace(plan, noise=replace(plan.noise, headroom=int(math.sqrt(10 * plan.noise.share_variance))))
    headroom = plan.noise.headroom.to_bytes(8, "big")
    assert plan.encode().count(headroom) == 1
    with pytest.raises(DecodeError, match="wrap with probability"):
        EncodingPlan.decode(plan.encode().replace(headroom, (10).to_bytes(8, "big")))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier is 0.0"),
        ({"l2_clip": -1.0}, "l2_clip"),
        ({"scalar_share": 0.0}, "scalar_share"),
        ({"survivors": 1}, "nobody's noise"),
        ({"ring_bits": 8, "noise_multiplier": 100.0}, "no room for noise_multiplier=100"),
        ({"noise_multiplier": 1e6}, "no ring has room"),
    ],
)
def test_a_fit_that_cannot_be(fields: dict[str, object], why: str) -> None:
    settings: dict[str, object] = {"noise_multiplier": 1.0, "l2_clip": 1.0, "survivors": 9, "corrupt": 1} | fields
    plan = EncodingPlan.for_arrays(model(), parties=10, max_weight=1, uniform=True, metric_slots=0)
    with pytest.raises(LocalError, match=why):
        fit(plan, **settings)  # type: ignore[arg-type]


def test_bounded_numbers_alone_have_the_whole_clip() -> None:
    plan = noised(arrays={}, scalars=(Bounded("accuracy", 0.0, 1.0),), z=0.05)
    assert plan.noise is not None
    assert plan.noise.l2_clip == 0
    assert plan.vector_length == 1
    updates = [encode_update(plan, {}, {}, 1, {"accuracy": 0.25}, seeded(party)) for party in range(10)]
    decoded = decode_sum(plan, total_of(plan, updates), 10, {}, updates[0].schema)
    assert decoded.metrics["accuracy"] == pytest.approx(0.25, abs=0.03)
    with pytest.raises(LocalError, match="nothing to add noise to"):
        noised(arrays={})
