"""EncodingPlan: its proof that nothing wraps, its one encoding, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, TensorSpec
from stfed.encoding.arrays import INTEGER_CHANGE
from stfed.encoding.plan import MAX_METRIC, MAX_METRIC_SLOTS, MAX_PARTIES, MAX_TENSORS, fewest_ring_bits
from stfed.encoding.rotation import Rotation
from stfed.errors import DecodeError, LocalError
from stfed.wire import Writer

from .helpers import counted

DTYPES = st.sampled_from(["float16", "float32", "float64", "bfloat16", "int8", "int64", "uint32", "bool"])
SPECS = st.builds(TensorSpec, name=st.text(max_size=8), dtype=DTYPES, shape=st.lists(st.integers(0, 9), max_size=4).map(tuple))
PLANS = st.builds(
    EncodingPlan,
    tensors=st.lists(SPECS, max_size=5, unique_by=lambda spec: spec.name).map(tuple),
    parties=st.integers(1, 5000),
    ring_bits=st.integers(15, 64),
    clip=st.floats(1e-6, 1e6),
    max_weight=st.floats(1e-3, 2.0**40),
    metric_slots=st.integers(0, 100),
    weight_key=st.text(max_size=12),
    value_bits=st.none() | st.integers(2, 51),
    rotation=st.none() | st.binary(min_size=16, max_size=16).map(Rotation),
)
PLANS = PLANS | PLANS.map(lambda plan: replace(plan, uniform=True, max_weight=1.0))


def bare(**settings: object) -> EncodingPlan:
    return EncodingPlan(**({"tensors": (), "parties": 10} | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("ring_bits", range(8, 65))
def test_the_no_wrap_inequality_holds_and_is_tight(ring_bits: int) -> None:
    for parties in (1, 2, 3, 7, 10, 63, 1023, 1024, 1025, 5000, MAX_PARTIES):
        half = (1 << (ring_bits - 1)) - 1
        if 2 * parties > half:
            with pytest.raises(LocalError, match=f"ring_bits={ring_bits} leaves less than one bit a value for {parties} parties"):
                bare(parties=parties, ring_bits=ring_bits)
            continue
        q = bare(parties=parties, ring_bits=ring_bits).largest_value
        assert q >= 1
        assert parties * (q + 1) <= half < parties * (q + 2)


@given(st.integers(2, 62), st.one_of(st.integers(1, 5000), st.integers(1, 24).map(lambda power: 1 << power)))
@example(8, 50)
@example(8, 1000)
@example(8, 255)
@example(8, 256)
def test_value_bits_take_the_smallest_ring_that_holds_them(value_bits: int, parties: int) -> None:
    if fewest_ring_bits(value_bits, parties) > 64:
        with pytest.raises(LocalError, match=f"value_bits={value_bits} for {parties} parties takes a ring of") as caught:
            bare(value_bits=value_bits, parties=parties)
        bits = int(str(caught.value.hint).rsplit(" ", 1)[1])
        assert bare(value_bits=bits, parties=parties).ring_bits <= 64
        with pytest.raises(LocalError):
            bare(value_bits=bits + 1, parties=parties)
        return
    plan, wanted = bare(value_bits=value_bits, parties=parties), (1 << (value_bits - 1)) - 1
    assert plan.largest_value >= wanted
    assert plan == bare(value_bits=value_bits, parties=parties, ring_bits=64)  # what the ring is said to be counts for nothing
    if plan.ring_bits > 8:
        smaller = ((1 << (plan.ring_bits - 2)) - 1) // parties - 1
        assert smaller < wanted


def test_what_eight_to_ten_bits_of_value_take_on_the_wire() -> None:
    rings = {(v, n): bare(value_bits=v, parties=n).ring_bits for v in (8, 10) for n in (10, 20, 50, 255, 256, 1000)}
    assert rings == {
        (8, 10): 12,
        (8, 20): 13,
        (8, 50): 14,
        (8, 255): 16,
        (8, 256): 17,
        (8, 1000): 18,
        (10, 10): 14,
        (10, 20): 15,
        (10, 50): 16,
        (10, 255): 18,
        (10, 256): 19,
        (10, 1000): 20,
    }


@given(PLANS, st.integers(1, 5000))
def test_a_plan_for_one_party_is_the_same_whatever_the_cohort(plan: EncodingPlan, parties: int) -> None:
    """What a party pins for a run: `value_bits` is in it, the ring of a round's cohort is not."""
    if plan.value_bits is None:
        return
    assert replace(replace(plan, parties=parties), parties=1).encode() == replace(plan, parties=1).encode()


def test_the_hint_names_the_smallest_ring_that_works() -> None:
    for parties in (64, 127, 128, 200, 1024, 5000, MAX_PARTIES):
        with pytest.raises(LocalError) as caught:
            bare(parties=parties, ring_bits=8)
        bits = int(str(caught.value.hint).rsplit(" ", 1)[1])
        assert bare(parties=parties, ring_bits=bits).largest_value >= 1
        with pytest.raises(LocalError):
            bare(parties=parties, ring_bits=bits - 1)


@given(st.integers(8, 64), st.integers(1, 5000), st.floats(2.0**-96, 2.0**96))
@example(64, 1, 8.0)
@example(64, 1, 0.1)
def test_the_rounded_product_of_clip_and_scale_never_exceeds_q(ring_bits: int, parties: int, clip: float) -> None:
    if 2 * parties > (1 << (ring_bits - 1)) - 1:
        return
    plan = bare(ring_bits=ring_bits, parties=parties, clip=clip)
    assert clip * plan.scale <= plan.largest_value  # a float against an int: exact
    assert plan.scale >= plan.largest_value / clip * (1 - 2.0**-50)
    assert plan.weighted_scale(plan.max_weight_units) <= plan.scale
    assert math.isclose(plan.step * plan.scale, 1.0)


@pytest.mark.parametrize("ring_bits", range(8, 65))
def test_the_lane_is_the_smallest_that_holds_the_ring(ring_bits: int) -> None:
    expected = "uint16" if ring_bits < 17 else "uint32" if ring_bits < 33 else "uint64"
    assert bare(ring_bits=ring_bits, parties=1).lane == np.dtype(expected)


@given(PLANS)
def test_layout_covers_both_parts_without_gap_or_overlap(plan: EncodingPlan) -> None:
    layout = plan.layout()
    ends = {"ring": 0, "wide": 0}
    tensors = [("ring" if spec.is_float else "wide", place) for spec, place in zip(plan.tensors, layout.tensors, strict=True)]
    for part, place in [("wide", place) for place in (layout.weight, layout.clipped, layout.saturated, layout.metrics)] + tensors:
        assert place.start == ends[part]
        ends[part] = place.stop
    assert ends == {"ring": plan.vector_length, "wide": plan.wide_length}
    for spec, (part, place) in zip(plan.tensors, tensors, strict=True):
        limbs = 1 if part == "ring" else plan.integer_format(spec.dtype).limbs
        assert place.stop - place.start == limbs * spec.size


@given(PLANS)
def test_every_wide_number_has_its_format_in_the_groups(plan: EncodingPlan) -> None:
    """`carry` cuts the wide part by `wide_groups` and the pipeline by `layout` and the formats: both must mean the same numbers."""
    layout = plan.layout()
    places = [layout.weight, layout.clipped, layout.saturated, layout.metrics]
    formats = [plan.weight_format, plan.clipped_format, plan.saturated_format, plan.metric_format]
    counts = [1, 1, 1, plan.metric_slots]
    for spec, place in zip(plan.tensors, layout.tensors, strict=True):
        if not spec.is_float:
            places.append(place)
            formats.append(plan.integer_format(spec.dtype))
            counts.append(spec.size)
    assert plan.wide_groups == tuple((number.limbs, count) for number, count in zip(formats, counts, strict=True))
    assert [place.stop - place.start for place in places] == [limbs * count for limbs, count in plan.wide_groups]
    assert all(number.parties == plan.parties for number in formats)


@given(PLANS)
def test_every_wide_number_holds_the_sum_of_the_largest_of_all_parties(plan: EncodingPlan) -> None:
    most = plan.weight_units(1 << 60)[0]
    assert most == plan.weight_format.largest == plan.max_weight_units
    assert plan.clipped_format.largest == sum(spec.size for spec in plan.tensors)
    assert plan.saturated_format.largest == 1
    assert plan.metric_format.largest == most * 2 * MAX_METRIC * 2**50
    for dtype, change in INTEGER_CHANGE.items():
        assert plan.integer_format(dtype).largest == most * 2 * change
    for limbs, number in ((plan.weight_format.limbs, plan.weight_format), (plan.metric_format.limbs, plan.metric_format)):
        assert plan.parties * number.largest < 1 << 30 * limbs


@given(PLANS)
def test_encoding_is_the_identity(plan: EncodingPlan) -> None:
    data = plan.encode()
    assert EncodingPlan.decode(data) == plan
    assert EncodingPlan.decode(data).encode() == data


@given(st.binary(max_size=200))
def test_random_bytes_are_a_decode_error(data: bytes) -> None:
    for candidate in (data, b"\x01" + data):
        try:
            assert EncodingPlan.decode(candidate).encode() == candidate
        except DecodeError:
            continue


@given(PLANS, st.data())
def test_a_changed_encoding_is_another_plan_or_a_decode_error(plan: EncodingPlan, data: st.DataObject) -> None:
    encoded = bytearray(plan.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(at + 1, len(encoded)))
    for candidate in (bytes(encoded), bytes(encoded[:cut]), plan.encode() + b"\0"):
        try:
            decoded = EncodingPlan.decode(candidate)
        except DecodeError:
            continue
        assert decoded != plan
        assert decoded.encode() == candidate


def encoded(*, version: int = 1, specs: int = 0, rest: bytes | None = None) -> bytes:
    plan = bare()
    return bytes([version]) + specs.to_bytes(4, "big") + (plan.encode()[5:] if rest is None else rest)


def spec_bytes(name: bytes = b"w", dtype: str = "float32", shape: tuple[int, ...] = ()) -> bytes:
    return Writer().opaque(name).text(dtype).vector(shape, Writer.u64).getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "'version'"),
        (encoded(version=2), "version.* is 2"),
        (encoded(specs=MAX_TENSORS + 1), "100001 items"),
        (encoded(specs=1000), "only .* bytes are left"),
        (encoded(specs=1, rest=spec_bytes(b"n" * 1025)), "1025 bytes long"),
        (encoded(specs=1, rest=spec_bytes(b"\xff")), "UTF-8"),
        (encoded(specs=1, rest=spec_bytes(dtype="complex64")), "unknown dtype"),
        (encoded(specs=1, rest=spec_bytes(shape=(2**32, 2**32))), "shape of over"),
        (encoded(specs=1, rest=spec_bytes(shape=(0, 2**63))), "shape of over"),
        (encoded(specs=1, rest=spec_bytes(shape=(1,) * 65)), "65 items"),
        (encoded(specs=2, rest=spec_bytes() + spec_bytes() + bare().encode()[5:]), "same name"),
        (encoded() + b"\0", "left over"),
        (bare().encode().replace(b"\x00\x00\x00\x00\x20", b"\x02\x00\x00\x00\x20"), "neither 0 nor 1"),
        (bare().encode().replace(b"\x00\x00\x00\x0a\x20", b"\x00\x00\xff\xff\x08"), "less than one bit"),
        (bare().encode().replace(b"\x00\x00\x00\x0a\x20", b"\x00\x00\x00\x0a\x07"), "ring_bits=7 is outside"),
        (
            bare(value_bits=8).encode().replace(b"\x00\x00\x00\x0a\x0c", b"\x00\x00\x00\x0a\x0d"),
            "is 13, 8 bits a value for 10 parties make it 12",
        ),
        (bare().encode()[:-6] + bytes([1, 0, 0, 0, 0, 0]), "value_bits=1 is outside"),
        (bare().encode()[:-5] + bytes([0, 0, 0, 15]) + bytes(16), "has 15 bytes, it takes 16"),
        (bare().encode()[:-5] + bytes([0, 0, 0, 17]) + bytes(18), "17 bytes long"),
        (bare().encode()[:-1] + bytes([2]), "'noise'.* is neither 0 nor 1"),
        (bare().encode()[:-1] + bytes([1]), "'l2_clip'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_decoder_refuses(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        EncodingPlan.decode(data)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"parties": 0}, "parties=0 is outside"),
        ({"parties": 2.5}, "parties is a float"),
        ({"parties": True}, "parties is a bool"),
        ({"ring_bits": 7}, "ring_bits=7 is outside"),
        ({"ring_bits": 65}, "ring_bits=65 is outside"),
        ({"value_bits": 1}, "value_bits=1 is outside"),
        ({"value_bits": 63}, "value_bits=63 is outside"),
        ({"value_bits": 8.0}, "value_bits is a float"),
        ({"clip": 0.0}, "clip=0 is outside"),
        ({"clip": math.nan}, "clip=nan is outside"),
        ({"clip": "8"}, "clip is a str"),
        ({"max_weight": math.inf}, "max_weight=inf is outside"),
        ({"max_weight": 2.0**40 + 1}, "max_weight=.* is outside"),
        ({"metric_slots": MAX_METRIC_SLOTS + 1}, "metric_slots=65537 is outside"),
        ({"weight_key": "\ud800"}, "weight_key name is not text"),
        ({"uniform": True}, "with uniform weights the largest weight is 1, not 10000"),
        ({"uniform": True, "max_weight": 0.5}, "with uniform weights the largest weight is 1, not 0.5"),
        ({"uniform": 1, "max_weight": 1}, "uniform is a int"),
        ({"uniform": "no", "max_weight": 1}, "uniform is a str"),
        ({"tensors": (TensorSpec("w", "float32", ()),) * 2}, "same name"),
        ({"tensors": tuple(TensorSpec(str(i), "float32", (2**39,)) for i in range(3))}, "the vector would have"),
        ({"tensors": (TensorSpec("w", "int64", (2**39,)),)}, "the vector would have"),
        ({"tensors": (TensorSpec("w", "float32", (2**40 - 1,)),)}, "the vector would have"),
        ({"tensors": tuple(TensorSpec(str(i), "bool", ()) for i in range(MAX_TENSORS + 1))}, "at most 100000"),
    ],
)
def test_what_the_constructor_refuses(settings: dict[str, object], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        bare(**settings)


def test_tensor_specs_refuse_what_cannot_be_allocated() -> None:
    with pytest.raises(LocalError, match="shape of over"):
        TensorSpec("w", "float32", (-1,))
    with pytest.raises(LocalError, match="tensor name"):
        TensorSpec("n" * 1025, "float32", ())
    assert TensorSpec("é" * 512, "float32", (0, 7)).size == 0
    assert TensorSpec("", "float32", ()).size == 1


def test_weights_count_in_exact_steps() -> None:
    plan = bare(max_weight=2.0**40)
    for weight in (0, 1, 10**12, 2**40, 2**40 - 1):
        assert plan.weight_units(weight) == (weight << 20, False)
    assert plan.weight_units(0.1) == (round(0.1 * 2**20), False)
    assert plan.weight_units(2**-22) == (0, False)


@pytest.mark.parametrize("largest", [2.0**-20, 0.3, 0.1, 1, 777.7, 10_000, 2.0**30 / 3, 2.0**40])
def test_a_weight_of_exactly_the_largest_is_in_range_and_one_step_more_is_not(largest: float) -> None:
    plan, most = bare(max_weight=largest), math.floor(largest * 2**20)
    assert plan.weight_units(largest) == (most, False)
    assert plan.weight_units(max(largest + 2.0**-20, math.nextafter(largest, math.inf))) == (most, True)
    assert plan.weight_units(0) == plan.weight_units(-0.0) == (0, False)
    assert plan.weight_units(-(2.0**-20)) == (0, True)


@given(st.floats(2.0**-20, 2.0**40), st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
@example(100, 10**400)
@example(100, -(10**400))
@example(100, 1.7e308)
def test_a_weight_out_of_range_counts_as_the_nearest_in_it(largest: float, weight: float) -> None:
    plan = bare(max_weight=largest)
    units, saturated = plan.weight_units(weight)
    counts, out_of_range = counted(plan, weight)
    assert (Fraction(units, 2**20), saturated) == (counts, out_of_range)
    assert 0 <= units <= plan.max_weight_units
    if not saturated:
        assert abs(Fraction(units, 2**20) - Fraction(weight)) <= Fraction(1, 2**20)


@pytest.mark.parametrize("weight", [0, 1, 7, -3, 10**400, math.nan, math.inf, None, "7", [1]])
def test_a_uniform_weight_is_one_whatever_the_party_says(weight: object) -> None:
    assert bare(uniform=True, max_weight=1).weight_units(weight) == (1 << 20, False)


@pytest.mark.parametrize(
    ("weight", "why"),
    [
        (math.nan, "'num-examples' is not a finite number"),
        (math.inf, "'num-examples' is not a finite number"),
        (-math.inf, "'num-examples' is not a finite number"),
        ("7", "'num-examples' is a str"),
        (None, "'num-examples' is a NoneType"),
        (True, "'num-examples' is a bool"),
    ],
)
def test_what_is_no_finite_number_is_no_weight(weight: object, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        bare().weight_units(weight)


def test_the_error_bound_shrinks_with_the_ring_and_grows_with_the_parties() -> None:
    plan = bare()
    assert plan.error_bound(100_000, 10) == pytest.approx(8 / plan.largest_value)
    assert plan.error_bound(1000, 10) > plan.error_bound(100_000, 10)
    assert bare(ring_bits=33).error_bound(100, 10) < plan.error_bound(100, 10)


def test_the_error_bound_of_a_rotated_plan_is_that_of_512_errors_that_add_up() -> None:
    coarse = bare(ring_bits=16, rotation=Rotation(bytes(16)))
    assert coarse.error_bound(100_000, 10) == pytest.approx(23 * 8 / coarse.largest_value)
    whole = bare(ring_bits=64, rotation=Rotation(bytes(16)))
    assert whole.error_bound(100_000, 10) > 8 * 2.0**-37  # of the arithmetic, which is all there is in a ring of 64 bits


def test_when_clipped_coordinates_ask_for_a_larger_clip() -> None:
    model = (TensorSpec("w", "float32", (2000,)),)
    assert [bare(tensors=model).clip_is_too_small(clipped, 10) for clipped in (0, 1, 20)] == [False, True, True]
    rotated = bare(tensors=model, rotation=Rotation(bytes(16)))
    assert [rotated.clip_is_too_small(clipped, 10) for clipped in (0, 1, 20, 21)] == [False, False, False, True]
