"""The whole way: sums of encodings decode to the weighted mean within the stated bound, and everything else is refused."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import EncodedUpdate, EncodingPlan, MetricSchema, TensorSpec, Vector, decode_sum, encode_update, pack_vector
from stfed.encoding.arrays import INTEGER_CHANGE
from stfed.encoding.plan import MAX_METRIC
from stfed.encoding.quantize import TILE
from stfed.encoding.rotation import Rotation
from stfed.errors import LocalError, PeerError, QuorumError

from .helpers import FLOATS, INTEGERS, ROUNDING, constant, counted, exact_mean, numbers_of, seeded, silent, times, vector_sum, wide_of

Model = dict[str, NDArray[Any]]
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[EncodingPlan, Model, list[Model], list[float], list[dict[str, float]], int]:
    """A plan, the received model, and each party's model, weight and metrics."""
    ring_bits = draw(st.integers(8, 64))
    parties = draw(st.sampled_from([n for n in (1, 2, 3, 10, 60, 1024, 5000) if 2 * n < 1 << (ring_bits - 1)]))
    count = draw(st.integers(1, min(parties, 4)))
    clip, max_weight = draw(st.sampled_from([1e-3, 0.7, 8.0, 300.0])), draw(st.sampled_from([1.0, 777.7, 10_000.0, 2.0**40]))
    uniform = max_weight == 1 and draw(st.booleans())
    dtypes = draw(st.lists(st.sampled_from((*FLOATS, *INTEGERS, "bool")), max_size=4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    received: Model = {}
    models: list[Model] = [{} for _ in range(count)]
    for index, dtype in enumerate(dtypes):
        name, shape = f"layer.{index}", draw(SHAPES)
        if dtype in FLOATS:
            received[name] = np.asarray(generator.normal(size=shape) * 10).astype(dtype)
            spread = clip * draw(st.sampled_from([0.0, 0.3, 3.0]))
            for model in models:
                model[name] = np.asarray(received[name] + generator.normal(size=shape) * spread).astype(dtype)
        else:
            low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            near = draw(st.booleans())  # of two 64-bit integers drawn at random, one is out of the other's reach
            for model in (received, *models):
                drawn = generator.integers(low, high, shape, np.uint64 if low == 0 else np.int64, endpoint=True)
                model[name] = (drawn >> drawn.dtype.type(32 * (near and high >> 32 > 0))).astype(dtype).reshape(shape)
    inside = st.one_of(st.integers(0, int(max_weight)), st.floats(0, max_weight).map(lambda weight: round(weight, 3)))
    one_weight = st.one_of(inside, inside, st.just(max_weight), st.floats(-(2.0**60), 2.0**60))
    weights = draw(st.lists(one_weight, min_size=count, max_size=count))
    metrics = [{"loss": float(generator.normal()), "correct": int(generator.integers(-(2**40), 2**40))} for _ in range(count)]
    plan = EncodingPlan.for_arrays(
        received, parties=parties, ring_bits=ring_bits, clip=clip, max_weight=max_weight, uniform=uniform, metric_slots=3
    )
    return plan, received, models, weights, metrics, draw(st.integers(0, 2**32))


def clipped(plan: EncodingPlan, before: NDArray[Any], after: NDArray[Any]) -> int:
    """How many elements changed by more than the bound, in Python numbers."""
    bound = plan.clip if before.dtype.kind == "f" else INTEGER_CHANGE[before.dtype.name]
    pairs = zip(np.ravel(before).tolist(), np.ravel(after).tolist(), strict=True)
    return sum(abs(right - left) > bound for left, right in pairs)


@settings(deadline=None, max_examples=150)
@given(rounds())
def test_a_sum_decodes_to_the_weighted_mean_within_the_bound(case: Any) -> None:
    plan, received, models, weights, metrics, seed = case
    fill = seeded(seed)
    updates = [encode_update(plan, received, *party, fill) for party in zip(models, weights, metrics, strict=True)]
    total = vector_sum(plan, [update.vector for update in updates])
    for update in updates:
        update.vector.check(plan)
        assert int(update.vector.ring.max(initial=0)) < 1 << plan.ring_bits
        assert int(update.vector.wide.max()) < 1 << 30
    counts, saturated = zip(*(counted(plan, weight) for weight in weights), strict=True)
    exact_total = sum(counts)
    if exact_total == 0:
        with pytest.raises(QuorumError, match="have no weight"):
            decode_sum(plan, total, len(updates), received, updates[0].schema)
        return
    result = decode_sum(plan, total, len(updates), received, updates[0].schema)
    assert result.total_weight == (exact_total if exact_total.denominator == 1 else float(exact_total))
    assert result.clipped == sum(update.clipped for update in updates)
    assert result.clipped == sum(clipped(plan, received[name], model[name]) for model in models for name in received)
    assert result.saturated == sum(saturated)
    assert result.error_bound == plan.error_bound(result.total_weight, len(updates))
    assert list(result.arrays) == list(received)
    for name, array in result.arrays.items():
        assert isinstance(array, np.ndarray)
        assert (array.dtype, array.shape) == (received[name].dtype, received[name].shape)
        for got, exact in zip(np.ravel(array).tolist(), exact_mean(plan, received, models, weights, name), strict=True):
            if array.dtype.kind == "f":
                relative, smallest = ROUNDING[array.dtype.name]
                bound = result.error_bound * (1 + relative) + relative * abs(exact) + smallest
                # in double precision the last addition is a rounding of its own before the one to the dtype
                assert abs(Fraction(got) - exact) <= bound + 2.0**-53 * abs(exact)
            else:
                assert int(got) == (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    for name in ("loss", "correct"):
        exact = sum(w * Fraction(m[name]) for w, m in zip(counts, metrics, strict=True)) / exact_total
        assert abs(Fraction(result.metrics[name]) - exact) <= len(updates) * Fraction(2**39 + 1, 2**70) / exact_total + abs(exact) / 2**52


@pytest.mark.parametrize("parties", [1, 2, 10, 1024, 5000])
@pytest.mark.parametrize("ring_bits", [15, 16, 20, 32, 40, 64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_all_parties_at_every_maximum_never_wrap(parties: int, ring_bits: int, sign: int, byte: int) -> None:
    clip, max_weight = 0.3, 777.7
    received: Model = {
        "float": np.zeros(3, np.float64),
        "byte": np.full(2, 0 if sign > 0 else 255, np.uint8),
        "counter": np.array(-(2**40) * sign, np.int64),
        "far": np.array([-(2**62), 2**63 - 1] if sign > 0 else [2**62, -(2**63)], np.int64),
        "flag": np.array(sign < 0),
    }
    trained: Model = {
        "float": np.array([clip, 10.0, 1e300]) * sign,
        "byte": np.full(2, 255 if sign > 0 else 0, np.uint8),
        "counter": np.array(sign * (-(2**40) + 2**32 - 1), np.int64),
        "far": np.array([2**62, 2**63 - 2**32] if sign > 0 else [-(2**62), -(2**63) + 2**32 - 1], np.int64),
        "flag": np.array(sign > 0),
    }
    if 2 * parties > (1 << (ring_bits - 1)) - 1:
        pytest.skip("this ring is too small for so many parties")
    plan = EncodingPlan.for_arrays(received, parties=parties, ring_bits=ring_bits, clip=clip, max_weight=max_weight, metric_slots=2)
    update = encode_update(plan, received, trained, 10**30, {"a": sign * MAX_METRIC, "b": -sign * MAX_METRIC}, constant(byte))
    assert update.clipped == 3
    result = decode_sum(plan, times(plan, update.vector, parties), parties, received, update.schema)
    np.testing.assert_allclose(result.arrays["float"], [sign * clip] * 3, atol=result.error_bound, rtol=2**-50)
    for name in ("byte", "counter", "flag"):
        np.testing.assert_array_equal(result.arrays[name], trained[name])
    assert np.asarray(result.arrays["far"]).tolist() == [int(received["far"][0]) + sign * (2**32 - 1), int(trained["far"][1])]
    assert result.total_weight == float(parties * counted(plan, max_weight)[0])
    assert result.metrics == {"a": float(sign * MAX_METRIC), "b": float(-sign * MAX_METRIC)}
    assert (result.clipped, result.saturated) == (3 * parties, parties)


@pytest.mark.parametrize("parties", [1, 1024, 5000])
def test_large_cohorts_are_exact_within_the_bound(parties: int) -> None:
    generator = np.random.default_rng(5)
    received: Model = {"w": generator.normal(size=20).astype(np.float32), "steps": np.array(100, np.int64)}
    plan = EncodingPlan.for_arrays(received, parties=parties, max_weight=50)
    total = Vector.zeros(plan)
    fill, exact, steps, weight_sum = seeded(2), np.zeros(20), 0, 0
    for party in range(parties):
        weight = party % 50 + 1
        trained: Model = {"w": (received["w"] + generator.normal(size=20)).astype(np.float32), "steps": np.array(100 + party, np.int64)}
        total.add(encode_update(plan, received, trained, weight, {}, fill).vector, plan)
        exact += weight * (trained["w"].astype(np.float64) - received["w"])
        steps += weight * (100 + party)
        weight_sum += weight
    result = decode_sum(plan, total, parties, received, MetricSchema())
    assert result.total_weight == weight_sum
    assert result.arrays["w"].dtype == np.float32
    assert np.abs(result.arrays["w"] - (received["w"] + exact / weight_sum)).max() <= result.error_bound + 4 * 2.0**-24
    assert result.arrays["steps"] == (2 * steps + weight_sum) // (2 * weight_sum)


def test_rounding_is_unbiased_through_the_pipeline() -> None:
    received: Model = {"w": np.zeros(1 << 16, np.float32)}
    plan = EncodingPlan.for_arrays(received, parties=3, ring_bits=8, clip=1.0, max_weight=1.0)
    for value in (0.013, -0.4, 0.25):
        trained: Model = {"w": np.full(1 << 16, value, np.float32)}
        update = encode_update(plan, received, trained, 1, {}, seeded(11))
        mean = np.asarray(decode_sum(plan, update.vector, 1, received, update.schema).arrays["w"]).astype(np.float64).mean()
        assert abs(mean - value) < 5 * plan.step / 2 / 256


def test_noise_is_eight_bytes_a_metric_and_dither_four_a_float_in_vector_order_whatever_the_tile() -> None:
    sizes = {"a": 70_000, "b": 1, "c": 65_536}
    received: Model = {name: np.zeros(size, np.float32) for name, size in sizes.items()} | {"i": np.zeros(9, np.int64)}
    plan = EncodingPlan.for_arrays(received, parties=2, clip=1.0)
    asked = []

    def fill(buffer: NDArray[np.uint8]) -> None:
        assert buffer.flags.c_contiguous
        asked.append(buffer.size)
        buffer[:] = 0

    encode_update(plan, received, received, 1, {"m": 1, "num-examples": 2, "l": 0.5}, fill)
    assert asked[0] == 16
    assert sum(asked[1:]) == 4 * sum(sizes.values())


@pytest.mark.parametrize("ring_bits", [8, 20, 32, 33, 64])
@pytest.mark.parametrize(("weight", "units", "saturated"), [(2.5, 5 << 19, 0), (0, 0, 0), (10_001, 10_000 << 20, 1), (-1, 0, 1)])
def test_the_wide_part_is_the_stated_numbers(ring_bits: int, weight: float, units: int, saturated: int) -> None:
    received: Model = {"n": np.array([5, 6], np.int64), "w": np.zeros(4, np.float32), "f": np.array([True]), "b": np.array(200, np.uint8)}
    trained: Model = {
        "n": np.array([5, -9], np.int64),
        "w": np.full(4, 9.0, np.float32),
        "f": np.array([False]),
        "b": np.array(7, np.uint8),
    }
    plan = EncodingPlan.for_arrays(received, parties=3, ring_bits=ring_bits, metric_slots=3)
    update = encode_update(plan, received, trained, weight, {"z": -7, "a": 0.3}, silent)
    metrics = [math.floor(Fraction(units, 2**20) * (Fraction(value) + 2**53) * 2**70) for value in (0.3, -7)] + [0]
    integers = [units * (change + bound) for change, bound in ((0, 2**32 - 1), (-15, 2**32 - 1), (-1, 1), (-193, 255))]
    assert numbers_of(plan, update.vector.wide) == [units, 4, saturated, *metrics, *integers]
    assert update.vector.wide.max() < 1 << 30


def test_an_untrained_model_encodes_to_zeros_and_decodes_to_itself() -> None:
    received: Model = {"w": np.random.default_rng(1).normal(size=1000).astype(np.float32), "n": np.arange(5)}
    plan = EncodingPlan.for_arrays(received, parties=10)
    update = encode_update(plan, received, received, 3, {}, constant(0))
    assert not update.vector.ring.any()
    result = decode_sum(plan, update.vector, 1, received, update.schema)
    assert all(np.array_equal(result.arrays[name], received[name]) for name in received)


def test_evaluation_has_no_tensors() -> None:
    plan = EncodingPlan((), parties=3)
    updates = [encode_update(plan, {}, {}, w, {"acc": a, "roc": 1 - a}, silent) for w, a in ((10, 0.5), (30, 0.75), (0, 0.0))]
    result = decode_sum(plan, vector_sum(plan, [update.vector for update in updates]), 3, {}, updates[0].schema)
    assert (result.arrays, result.metrics, result.total_weight) == ({}, {"acc": 0.6875, "roc": 0.3125}, 40)
    assert isinstance(result.total_weight, int)
    assert plan.vector_length == 0


def test_a_weight_out_of_range_counts_as_the_nearest_in_it_everywhere() -> None:
    received: Model = {"w": np.zeros(4, np.float64), "n": np.zeros(2, np.int32)}
    plan = EncodingPlan.for_arrays(received, parties=4, max_weight=100)
    high: Model = {"w": np.ones(4), "n": np.full(2, 9, np.int32)}
    parties = (high, 10**9, 8), (received, 100, 0), (high, -5, 1000), (high, 0, -1000)
    updates = [encode_update(plan, received, model, weight, {"m": metric}, seeded(1)) for model, weight, metric in parties]
    result = decode_sum(plan, vector_sum(plan, [update.vector for update in updates]), 4, received, updates[0].schema)
    assert (result.total_weight, result.saturated) == (200, 2)  # 10**9 and -5: neither 100, which is W, nor 0
    assert result.metrics == {"m": pytest.approx(4.0, abs=4 / 200 * 2.0**-31)}
    np.testing.assert_allclose(result.arrays["w"], 0.5, atol=result.error_bound)
    assert result.arrays["n"].tolist() == [5, 5]


def test_strided_big_endian_and_numpy_scalar_inputs() -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    received: Model = {"t": base.T, "s": base[::2, ::-1], "e": base.astype(">f4"), "x": np.float32(3)}  # type: ignore[dict-item]
    trained = {name: array + np.float32(0.5) for name, array in received.items()}
    plan = EncodingPlan.for_arrays(received, parties=1, ring_bits=48, max_weight=1)
    update = encode_update(plan, received, trained, 1, {}, seeded(1))
    result = decode_sum(plan, update.vector, 1, received, update.schema)
    for name, array in trained.items():
        np.testing.assert_array_equal(result.arrays[name], array)
        assert result.arrays[name].dtype == np.float32


RECEIVED: Model = {"a": np.zeros((2, 3), np.float32), "n": np.zeros(2, np.int64), "f": np.zeros(2, bool)}
PLAN = EncodingPlan.for_arrays(RECEIVED, parties=3, metric_slots=2)


def encode(trained: dict[str, Any], weight: Any = 1, metrics: Any = None, received: Any = RECEIVED) -> EncodedUpdate:
    return encode_update(PLAN, received, RECEIVED | trained, weight, metrics or {}, constant(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0), (1, 2)])
def test_non_finite_models_are_refused(bad: float, at: tuple[int, int]) -> None:
    broken = np.ones((2, 3), np.float32)
    broken[at] = bad
    with pytest.raises(LocalError, match="tensor 'a' of the trained model has NaN or infinity"):
        encode({"a": broken})
    with pytest.raises(LocalError, match="tensor 'a' of the received model has NaN or infinity"):
        encode({}, received=RECEIVED | {"a": broken})
    with pytest.raises(LocalError, match="tensor 'a' of the trained model has NaN or infinity"):
        encode({"a": broken}, received=RECEIVED | {"a": broken})


def test_nan_in_a_later_tile_is_found() -> None:
    received: Model = {"w": np.zeros(200_000, np.float16)}
    trained: Model = {"w": received["w"].copy()}
    trained["w"][150_000] = np.nan
    with pytest.raises(LocalError, match="'w'"):
        encode_update(EncodingPlan.for_arrays(received, parties=2), received, trained, 1, {}, constant(0))


def test_a_difference_that_overflows_is_clipped_not_refused() -> None:
    received: Model = {"w": np.array([-1.7e308, 0.0])}
    plan = EncodingPlan.for_arrays(received, parties=2, clip=1.0, max_weight=1)
    update = encode_update(plan, received, {"w": np.array([1.7e308, 0.5])}, 1, {}, constant(0))
    assert update.clipped == 1
    assert decode_sum(plan, update.vector, 1, received, update.schema).arrays["w"][1] == pytest.approx(0.5, abs=plan.error_bound(1, 1))


@pytest.mark.parametrize(
    ("trained", "why"),
    [
        ({"a": np.zeros((3, 2), np.float32)}, r"'a' of the trained model has the shape \(3, 2\), the plan says \(2, 3\)"),
        ({"a": np.zeros((2, 3), np.float64)}, "'a' of the trained model is float64, the plan says float32"),
        ({"a": np.zeros((2, 3), np.complex64)}, "'a' has dtype complex64, which cannot be averaged"),
        ({"a": np.zeros((2, 3), object)}, "'a' has dtype object"),
        ({"a": np.full((2, 3), "x")}, "'a' has dtype <U1"),
        ({"a": np.zeros((2, 3), "M8[s]")}, "'a' has dtype datetime64"),
        ({"a": np.zeros((2, 3), np.longdouble)}, "'a' has dtype float128|'a' of the trained model is float64"),
        ({"a": [[0.0] * 3] * 2}, "'a' is a list"),
        ({"b": np.zeros(1)}, "the trained model has the unplanned tensor 'b'"),
    ],
)
def test_models_that_are_not_as_planned_are_refused(trained: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        encode(trained)


def test_missing_tensors_are_refused() -> None:
    nothing: Model = {}
    for received, trained in ((RECEIVED, nothing), (nothing, RECEIVED)):
        with pytest.raises(LocalError, match=r"model lacks tensor 'a' \(3 such tensors\)"):
            encode_update(PLAN, received, trained, 1, {}, constant(0))


@pytest.mark.parametrize(
    ("weight", "metrics", "why"),
    [
        (1, {"a": 1, "b": 2, "c": 3}, "3 metrics, the plan has room for 2 .*metric_slots"),
        (1, {"a": [1]}, "metric 'a' is a list: how long it is would leave this party in clear"),
        (1, {"a": "x"}, "metric 'a' is a str"),
        (float("nan"), {}, "'num-examples' is not a finite number"),
        (float("-inf"), {}, "'num-examples' is not a finite number"),
        (None, {}, "'num-examples' is a NoneType"),
    ],
)
def test_weights_and_metrics_that_are_refused(weight: Any, metrics: Any, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        encode({}, weight, metrics)


def test_the_weight_may_be_among_the_metrics_and_takes_no_slot() -> None:
    update = encode({}, 7, {"num-examples": 7, "x": 1, "y": 2})
    assert update.schema.names == ("x", "y")


def test_what_decode_refuses_of_its_caller() -> None:
    update = encode({})
    ring, wide = update.vector.ring, update.vector.wide
    for arguments, why in [
        ((Vector(ring[:-1], wide), 1, RECEIVED, update.schema), r"ring part is uint32\[5\], the plan says uint32\[6\]"),
        ((Vector(ring, wide.astype(np.int64)), 1, RECEIVED, update.schema), "wide part is int64"),
        ((update.vector, 0, RECEIVED, update.schema), "count=0"),
        ((update.vector, 4, RECEIVED, update.schema), "count=4"),
        ((update.vector, 1, {}, update.schema), "received model lacks"),
    ]:
        with pytest.raises(LocalError, match=why):
            decode_sum(PLAN, *arguments)


def test_sums_that_no_honest_parties_can_send_are_refused() -> None:
    update = encode({}, 1, {"m": 1})
    formats = PLAN.weight_format, PLAN.clipped_format, PLAN.saturated_format, PLAN.metric_format
    ends = {0: "its weight", 1: "one of its counts", 2: "one of its counts", 3: "a metric of the sum is out of range"}
    ends |= {5: "'n': the sum is outside int64", 7: "'f': the sum is outside bool"}
    for at, why in ends.items():
        numbers = numbers_of(PLAN, update.vector.wide)
        if at < 3:
            numbers[at] = formats[at].largest + 1
        elif at == 3:
            numbers[at] = 2 * (MAX_METRIC << 50) * numbers[0] + 1
        else:
            numbers[at] = -1  # the largest of its ring
        with pytest.raises(PeerError, match=why):
            decode_sum(PLAN, Vector(update.vector.ring, wide_of(PLAN, numbers)), 1, RECEIVED, update.schema)
        if 1 <= at <= 3:
            numbers[at] -= 1
            decode_sum(PLAN, Vector(update.vector.ring, wide_of(PLAN, numbers)), 1, RECEIVED, update.schema)
    with pytest.raises(PeerError, match="3 metrics, the plan has room for 2"):
        decode_sum(PLAN, update.vector, 1, RECEIVED, MetricSchema(("a", "b", "c")))


def test_a_vector_that_is_still_masked_is_refused() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        ring = generator.integers(0, 1 << 32, PLAN.vector_length, np.uint32)
        with pytest.raises(PeerError, match="cannot be that of 2 parties"):
            decode_sum(PLAN, Vector(ring, generator.integers(0, 1 << 30, PLAN.wide_length, np.uint32)), 2, RECEIVED, MetricSchema())


def test_of_the_ring_part_only_the_value_mod_2_b_counts() -> None:
    plan = EncodingPlan.for_arrays(RECEIVED, parties=3, ring_bits=20, metric_slots=1)
    update = encode_update(plan, RECEIVED, {**RECEIVED, "a": RECEIVED["a"] + np.float32(1)}, 5000, {"m": 2.5}, seeded(1))
    junk = Vector(update.vector.ring | np.uint32(0xABC << 20), update.vector.wide)
    plain, odd = (decode_sum(plan, vector, 1, RECEIVED, update.schema) for vector in (update.vector, junk))
    assert (plain.metrics, plain.total_weight, plain.clipped) == (odd.metrics, odd.total_weight, odd.clipped)
    assert all(np.array_equal(plain.arrays[name], odd.arrays[name]) for name in RECEIVED)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 64), st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=3)), st.booleans())
def test_with_uniform_weights_the_number_of_examples_is_in_no_word(ring_bits: int, examples: object, in_metrics: bool) -> None:
    plan = EncodingPlan.for_arrays(RECEIVED, parties=3, ring_bits=ring_bits, max_weight=1, uniform=True, metric_slots=2)
    trained = RECEIVED | {"a": RECEIVED["a"] + np.float32(0.7), "n": RECEIVED["n"] + 5}
    one = encode_update(plan, RECEIVED, trained, 1, {"m": 2.5}, seeded(1))
    metrics = {"m": 2.5} | ({"num-examples": examples} if in_metrics else {})
    other = encode_update(plan, RECEIVED, trained, examples, metrics, seeded(1))
    assert pack_vector(other.vector, plan) == pack_vector(one.vector, plan)
    assert (other.schema, other.clipped) == (one.schema, one.clipped)


def test_with_uniform_weights_the_mean_is_the_plain_one() -> None:
    received: Model = {"w": np.zeros(3, np.float64), "n": np.zeros((), np.int64)}
    plan = EncodingPlan.for_arrays(received, parties=3, max_weight=1, uniform=True)
    updates = [
        encode_update(plan, received, {"w": np.full(3, x), "n": np.array(int(4 * x))}, examples, {"m": x}, seeded(3))
        for x, examples in ((0.25, 1), (1.0, 10**9), (-0.5, 0))
    ]
    result = decode_sum(plan, vector_sum(plan, [update.vector for update in updates]), 3, received, updates[0].schema)
    assert (result.total_weight, result.saturated) == (3, 0)
    assert result.metrics == {"m": pytest.approx(0.25, abs=2.0**-31)}
    assert result.arrays["n"] == 1
    np.testing.assert_allclose(result.arrays["w"], 0.25, atol=result.error_bound)
    assert result.error_bound == pytest.approx(plan.step, rel=1e-6)


ROTATION = Rotation(bytes(range(16)))


@pytest.mark.parametrize("sizes", [(1,), (100, 155), (256, 16_384), (TILE, 300), (TILE + 200,), (5, TILE, 40_000)], ids=str)
def test_a_rotated_vector_is_the_vector_of_the_rotated_change(sizes: tuple[int, ...]) -> None:
    generator = np.random.default_rng(5)
    received: Model = {f"w{index}": np.zeros(size) for index, size in enumerate(sizes)}
    trained: Model = {name: generator.normal(size=tensor.size) for name, tensor in received.items()}
    line = np.concatenate(list(trained.values()))
    ROTATION.forward(line, 0)
    settings: dict[str, Any] = {"parties": 3, "clip": 2.0, "max_weight": 5.0, "metric_slots": 0}
    rotated = EncodingPlan.for_arrays(received, rotation=ROTATION, **settings)
    straight = EncodingPlan.for_arrays({"line": line}, **settings)
    one = encode_update(rotated, received, trained, 3, {}, seeded(1))
    other = encode_update(straight, {"line": np.zeros(line.size)}, {"line": line}, 3, {}, seeded(1))
    assert (one.vector.ring == other.vector.ring).all()
    assert one.clipped == other.clipped == np.count_nonzero(np.abs(line) > 2)


@pytest.mark.parametrize("value_bits", [8, 14, 30, 50])
def test_rotated_sums_decode_to_the_weighted_mean_within_the_bound(value_bits: int) -> None:
    generator = np.random.default_rng(value_bits)
    sizes = {"bias": ("float64", 3), "deep": ("float32", TILE + 77), "n": ("int64", 2), "half": ("float16", 1000)}
    received: Model = {name: generator.integers(-9, 9, size).astype(dtype) for name, (dtype, size) in sizes.items()}
    models = [
        {name: (tensor + generator.integers(-3, 4, tensor.size) / 4).astype(tensor.dtype) for name, tensor in received.items()}
        for _ in range(2)
    ]
    weights = [1, 4]
    plan = EncodingPlan.for_arrays(received, parties=4, clip=10.0, max_weight=4, metric_slots=0, value_bits=value_bits, rotation=ROTATION)
    fill = seeded(3)
    updates = [encode_update(plan, received, model, weight, {}, fill) for model, weight in zip(models, weights, strict=True)]
    assert not any(update.clipped for update in updates)
    decoded = decode_sum(plan, vector_sum(plan, [update.vector for update in updates]), 2, received, updates[0].schema)
    for name in ("bias", "deep", "half"):
        mean = sum(np.float64(weight) * model[name] for weight, model in zip(weights, models, strict=True)) / 5
        mine = np.abs(decoded.arrays[name] - mean)
        assert mine.max() <= decoded.error_bound + np.abs(mean).max() * ROUNDING[received[name].dtype.name][0]
    assert decoded.arrays["n"].tolist() == [
        math.floor(Fraction(sum(w * int(m["n"][i]) for w, m in zip(weights, models, strict=True)), 5) + Fraction(1, 2)) for i in range(2)
    ]


def test_updates_print_no_values() -> None:
    update = encode({"a": np.ones((2, 3), np.float32)}, 3, {"m": 1})
    assert repr(update) == "EncodedUpdate(schema=MetricSchema(names=('m',)))"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_memory_beyond_the_vector_is_constant(dtype: str) -> None:
    received: Model = {"w": np.zeros(2_000_000, dtype)}
    trained: Model = {"w": np.ones(2_000_000, dtype)}
    plan = EncodingPlan.for_arrays(received, parties=3)
    tracemalloc.start()
    try:
        update = encode_update(plan, received, trained, 1, {}, constant(7))
        assert tracemalloc.get_traced_memory()[1] - update.vector.ring.nbytes < 3 << 20
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        result = decode_sum(plan, update.vector, 1, received, update.schema)
        assert tracemalloc.get_traced_memory()[1] - before - received["w"].nbytes < 3 << 20
    finally:
        tracemalloc.stop()
    assert result.arrays["w"].dtype == dtype


def test_torch_is_not_imported_for_numpy_models() -> None:
    code = (
        "import sys, numpy as np; from stfed.encoding import *; r = {'w': np.zeros(3)}; p = EncodingPlan.for_arrays(r, parties=2); "
        "u = encode_update(p, r, r, 1, {}, lambda b: None); decode_sum(p, u.vector, 1, r, u.schema); "
        "assert 'torch' not in sys.modules; assert not any(m.startswith('stfed.crypto') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plans_are_made_in_the_order_of_the_model() -> None:
    assert [spec.name for spec in PLAN.tensors] == ["a", "n", "f"]
    assert PLAN.tensors[0] == TensorSpec("a", "float32", (2, 3))
