"""The whole way: sums of encodings decode to the weighted mean within the stated bound, and everything else is refused."""

from __future__ import annotations

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

from stfed.encoding import EncodedUpdate, EncodingPlan, MetricSchema, TensorSpec, decode_sum, encode_update
from stfed.encoding.arrays import INTEGER_CHANGE
from stfed.encoding.plan import MAX_METRIC
from stfed.errors import LocalError, PeerError, QuorumError

from .helpers import FLOATS, INTEGERS, ROUNDING, constant, counted, exact_mean, ring_sum, seeded, times

Model = dict[str, NDArray[Any]]
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[EncodingPlan, Model, list[Model], list[float], list[dict[str, float]], int]:
    """A plan, the received model, and each party's model, weight and metrics."""
    ring_bits = draw(st.integers(8, 64))
    parties = draw(st.sampled_from([n for n in (1, 2, 3, 10, 60, 1024, 5000) if 2 * n < 1 << (ring_bits - 1)]))
    count = draw(st.integers(1, min(parties, 4)))
    clip, max_weight = draw(st.sampled_from([1e-3, 0.7, 8.0, 300.0])), draw(st.sampled_from([1.0, 100.0, 10_000.0, 2.0**40]))
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
            most = INTEGER_CHANGE[dtype]
            low, high = (max(low, -most // 2), min(high, most // 2)) if dtype != "bool" else (low, high)
            for model in (received, *models):
                model[name] = generator.integers(low, high, shape, np.int64, endpoint=True).astype(dtype).reshape(shape)
    one_weight = st.one_of(st.integers(0, int(max_weight)), st.floats(0, max_weight).map(lambda weight: round(weight, 3)))
    weights = draw(st.lists(one_weight, min_size=count, max_size=count))
    metrics = [{"loss": float(generator.normal()), "correct": int(generator.integers(-(2**40), 2**40))} for _ in range(count)]
    plan = EncodingPlan.for_arrays(received, parties=parties, ring_bits=ring_bits, clip=clip, max_weight=max_weight, metric_slots=3)
    return plan, received, models, weights, metrics, draw(st.integers(0, 2**32))


@settings(deadline=None, max_examples=150)
@given(rounds())
def test_a_sum_decodes_to_the_weighted_mean_within_the_bound(case: Any) -> None:
    plan, received, models, weights, metrics, seed = case
    fill = seeded(seed)
    updates = [encode_update(plan, received, *party, fill) for party in zip(models, weights, metrics, strict=True)]
    total = ring_sum(plan, [update.vector for update in updates])
    for update in updates:
        assert update.vector.dtype == plan.lane
        assert int(update.vector.max(initial=0)) < 1 << plan.ring_bits
    exact_total = sum(counted(plan, weight) for weight in weights)
    if exact_total == 0:
        with pytest.raises(QuorumError, match="have no weight"):
            decode_sum(plan, total, len(updates), received, updates[0].schema)
        return
    result = decode_sum(plan, total, len(updates), received, updates[0].schema)
    assert result.total_weight == (exact_total if exact_total.denominator == 1 else float(exact_total))
    assert result.clipped == sum(update.clipped for update in updates)
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
        exact = sum(counted(plan, w) * Fraction(m[name]) for w, m in zip(weights, metrics, strict=True)) / exact_total
        assert abs(Fraction(result.metrics[name]) - exact) <= Fraction(1, 2**31) + abs(exact) / 2**52


@pytest.mark.parametrize("parties", [1, 2, 10, 1024, 5000])
@pytest.mark.parametrize("ring_bits", [15, 16, 20, 32, 40, 64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_all_parties_at_every_maximum_never_wrap(parties: int, ring_bits: int, sign: int, byte: int) -> None:
    clip, weight = 0.3, 777.7
    received: Model = {
        "float": np.zeros(3, np.float64),
        "byte": np.full(2, 0 if sign > 0 else 255, np.uint8),
        "counter": np.array(-(2**40) * sign, np.int64),
        "flag": np.array(sign < 0),
    }
    trained: Model = {
        "float": np.array([clip, 10.0, 1e300]) * sign,
        "byte": np.full(2, 255 if sign > 0 else 0, np.uint8),
        "counter": np.array(sign * (-(2**40) + 2**32 - 1), np.int64),
        "flag": np.array(sign > 0),
    }
    if 2 * parties > (1 << (ring_bits - 1)) - 1:
        pytest.skip("this ring is too small for so many parties")
    plan = EncodingPlan.for_arrays(received, parties=parties, ring_bits=ring_bits, clip=clip, max_weight=weight, metric_slots=2)
    update = encode_update(plan, received, trained, weight, {"a": sign * MAX_METRIC, "b": -sign * MAX_METRIC}, constant(byte))
    assert update.clipped == 2
    result = decode_sum(plan, times(plan, update.vector, parties), parties, received, update.schema)
    np.testing.assert_allclose(result.arrays["float"], [sign * clip] * 3, atol=result.error_bound, rtol=2**-50)
    for name in ("byte", "counter", "flag"):
        np.testing.assert_array_equal(result.arrays[name], trained[name])
    assert result.total_weight == float(parties * counted(plan, weight))
    assert result.metrics == {"a": float(sign * MAX_METRIC), "b": float(-sign * MAX_METRIC)}
    assert result.clipped == 2 * parties


@pytest.mark.parametrize("parties", [1, 1024, 5000])
def test_large_cohorts_are_exact_within_the_bound(parties: int) -> None:
    generator = np.random.default_rng(5)
    received: Model = {"w": generator.normal(size=20).astype(np.float32), "steps": np.array(100, np.int64)}
    plan = EncodingPlan.for_arrays(received, parties=parties, max_weight=50)
    total = np.zeros(plan.vector_length, plan.lane)
    fill, exact, steps, weight_sum = seeded(2), np.zeros(20), 0, 0
    for party in range(parties):
        weight = party % 50 + 1
        trained: Model = {"w": (received["w"] + generator.normal(size=20)).astype(np.float32), "steps": np.array(100 + party, np.int64)}
        total += encode_update(plan, received, trained, weight, {}, fill).vector  # uint32 lanes wrap mod 2^32, as the coordinator's do
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
        mean = decode_sum(plan, update.vector, 1, received, update.schema).arrays["w"].astype(np.float64).mean()
        assert abs(mean - value) < 5 * plan.step / 2 / 256


def test_dither_is_four_bytes_a_float_in_vector_order_whatever_the_tile() -> None:
    sizes = {"a": 70_000, "b": 1, "c": 65_536}
    received: Model = {name: np.zeros(size, np.float32) for name, size in sizes.items()} | {"i": np.zeros(9, np.int64)}
    plan = EncodingPlan.for_arrays(received, parties=2, clip=1.0)
    asked = []

    def fill(buffer: NDArray[np.uint8]) -> None:
        assert buffer.flags.c_contiguous
        asked.append(buffer.size)
        buffer[:] = 0

    encode_update(plan, received, received, 1, {}, fill)
    assert sum(asked) == 4 * sum(sizes.values())


def test_an_untrained_model_encodes_to_zeros_and_decodes_to_itself() -> None:
    received: Model = {"w": np.random.default_rng(1).normal(size=1000).astype(np.float32), "n": np.arange(5)}
    plan = EncodingPlan.for_arrays(received, parties=10)
    update = encode_update(plan, received, received, 3, {}, constant(0))
    assert not update.vector[plan.layout().tensors[0]].any()
    result = decode_sum(plan, update.vector, 1, received, update.schema)
    assert all((result.arrays[name] == received[name]).all() for name in received)


def test_evaluation_has_no_tensors() -> None:
    plan = EncodingPlan((), parties=3)
    updates = [encode_update(plan, {}, {}, w, {"acc": a, "roc": [a, 1]}, constant(9)) for w, a in ((10, 0.5), (30, 0.75), (0, 0.0))]
    result = decode_sum(plan, ring_sum(plan, [update.vector for update in updates]), 3, {}, updates[0].schema)
    assert (result.arrays, result.metrics, result.total_weight) == ({}, {"acc": 0.6875, "roc": [0.6875, 1.0]}, 40)
    assert isinstance(result.total_weight, int)


def test_a_capped_weight_counts_as_the_cap_everywhere() -> None:
    received: Model = {"w": np.zeros(4, np.float64), "n": np.zeros(2, np.int32)}
    plan = EncodingPlan.for_arrays(received, parties=2, max_weight=100, cap_weight=True)
    high: Model = {"w": np.ones(4), "n": np.full(2, 9, np.int32)}
    updates = [encode_update(plan, received, model, w, {"m": m}, seeded(1)) for model, w, m in ((high, 10**9, 8), (received, 100, 0))]
    result = decode_sum(plan, ring_sum(plan, [update.vector for update in updates]), 2, received, updates[0].schema)
    assert result.total_weight == 200
    assert result.metrics == {"m": 4.0}
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
        ({"n": np.array([0, 2**32])}, r"'n' \(int64\): an element changed by more than 4294967295"),
        ({"n": np.array([-(2**63), 0])}, "'n' .*changed by more than"),
    ],
)
def test_models_that_are_not_as_planned_are_refused(trained: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        encode(trained)


def test_missing_tensors_are_refused() -> None:
    for models in ((RECEIVED, {}), ({}, RECEIVED)):
        with pytest.raises(LocalError, match=r"model lacks tensor 'a' \(3 such tensors\)"):
            encode_update(PLAN, *models, 1, {}, constant(0))


@pytest.mark.parametrize(
    ("weight", "metrics", "why"),
    [
        (1, {"a": 1, "b": 2, "c": 3}, "3 numbers, the plan has room for 2 .*metric_slots"),
        (1, {"a": [1, 2, 3]}, "3 numbers, the plan has room for 2"),
        (1, {"a": "x"}, "metric 'a' is a str"),
        (1, {"num-examples": 2}, "metric 'num-examples' and the weight differ"),
        (10_001, {}, "over max_weight=10000 of the plan .*set cap_weight"),
        (-1, {}, "negative"),
        (float("nan"), {}, "not a finite number"),
    ],
)
def test_weights_and_metrics_that_are_refused(weight: Any, metrics: Any, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        encode({}, weight, metrics)


def test_the_weight_may_be_among_the_metrics_and_takes_no_slot() -> None:
    update = encode({}, 7, {"num-examples": 7, "x": 1, "y": 2})
    assert update.schema.entries == (("x", None), ("y", None))


def test_what_decode_refuses_of_its_caller() -> None:
    update = encode({})
    for arguments, why in [
        ((update.vector[:-1], 1, RECEIVED, update.schema), "the sum is uint32"),
        ((update.vector.astype(np.int64), 1, RECEIVED, update.schema), "the sum is int64"),
        ((update.vector, 0, RECEIVED, update.schema), "count=0"),
        ((update.vector, 4, RECEIVED, update.schema), "count=4"),
        ((update.vector, 1, {}, update.schema), "received model lacks"),
    ]:
        with pytest.raises(LocalError, match=why):
            decode_sum(PLAN, *arguments)  # type: ignore[arg-type]


def test_sums_that_no_honest_parties_can_send_are_refused() -> None:
    update, layout = encode({}, 1, {"m": 1}), PLAN.layout()
    for stop, why in [
        (layout.weight.stop, "its weight or its count of clipped values"),
        (layout.clipped.stop, "its weight or its count of clipped values"),
        (layout.metrics.start + PLAN.metric_format.limbs, "a metric of the sum is out of range"),
        (layout.tensors[1].stop, "'n': the sum is outside int64"),
        (layout.tensors[2].stop, "'f': the sum is outside bool"),
    ]:
        vector = update.vector.copy()
        vector[stop - 1] = (1 << PLAN.ring_bits) - 1
        with pytest.raises(PeerError, match=why):
            decode_sum(PLAN, vector, 1, RECEIVED, update.schema)
    with pytest.raises(PeerError, match="3 numbers, the plan has room for 2"):
        decode_sum(PLAN, update.vector, 1, RECEIVED, MetricSchema((("m", 3),)))


def test_a_vector_that_is_still_masked_is_refused() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        noise = generator.integers(0, 1 << 32, PLAN.vector_length, np.uint32)
        with pytest.raises(PeerError, match="cannot be that of 2 parties"):
            decode_sum(PLAN, noise, 2, RECEIVED, MetricSchema())


def test_only_the_value_mod_2_b_counts() -> None:
    plan = EncodingPlan.for_arrays(RECEIVED, parties=3, ring_bits=20, metric_slots=1)
    update = encode_update(plan, RECEIVED, {**RECEIVED, "a": RECEIVED["a"] + np.float32(1)}, 5000, {"m": 2.5}, seeded(1))
    junk = update.vector | np.uint32(0xABC << 20)
    plain, odd = (decode_sum(plan, vector, 1, RECEIVED, update.schema) for vector in (update.vector, junk))
    assert (plain.metrics, plain.total_weight, plain.clipped) == (odd.metrics, odd.total_weight, odd.clipped)
    assert all((plain.arrays[name] == odd.arrays[name]).all() for name in RECEIVED)


def test_updates_print_no_values() -> None:
    update = encode({"a": np.ones((2, 3), np.float32)}, 3, {"m": 1})
    assert repr(update) == "EncodedUpdate(schema=MetricSchema(entries=(('m', None),)))"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_memory_beyond_the_vector_is_constant(dtype: str) -> None:
    received: Model = {"w": np.zeros(2_000_000, dtype)}
    trained: Model = {"w": np.ones(2_000_000, dtype)}
    plan = EncodingPlan.for_arrays(received, parties=3)
    tracemalloc.start()
    try:
        update = encode_update(plan, received, trained, 1, {}, constant(7))
        assert tracemalloc.get_traced_memory()[1] - update.vector.nbytes < 3 << 20
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
