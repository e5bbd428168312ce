"""MetricSchema: its one encoding, the slots, and what is refused by name."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import MetricSchema
from stfed.encoding.plan import MAX_METRIC, MAX_METRIC_SLOTS, METRIC_NOISE
from stfed.errors import DecodeError, LocalError
from stfed.wire import Writer

from .helpers import constant, seeded, silent

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-(2**53), 2**53))
METRICS = st.dictionaries(st.text(max_size=6), NUMBERS, max_size=6)


@given(METRICS)
def test_encoding_is_the_identity(metrics: dict[str, float]) -> None:
    schema = MetricSchema.of(metrics)
    assert MetricSchema.decode(schema.encode()) == schema
    assert list(schema.names) == sorted(metrics)


@given(METRICS, st.integers(0, 2**60), st.data())
def test_weighted_values_fill_the_slots_in_name_order_with_the_drawn_noise(
    metrics: dict[str, float], units: int, data: st.DataObject
) -> None:
    schema, weight = MetricSchema.of(metrics), Fraction(units, 2**20)
    drawn = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(metrics), max_size=len(metrics)))

    def fill(buffer: NDArray[np.uint8]) -> None:
        buffer[:] = np.frombuffer(b"".join(number.to_bytes(8, "little") for number in drawn), np.uint8)

    for name, noise, product in zip(sorted(metrics), drawn, schema.products(metrics, weight, fill), strict=True):
        exact = weight * (Fraction(metrics[name]) + 2**53) * 2**70
        noisy = math.floor(exact) + noise % 2**40 - 2**39
        assert product == max(0, min(units * 2**104, noisy))
        assert abs(product - exact) <= 2**39 + 1
    assert schema.assemble([float(at) for at in range(len(metrics))]) == {name: float(at) for at, name in enumerate(sorted(metrics))}


def test_the_noise_is_uniform_and_new_for_every_metric() -> None:
    """Chi-square of 64 cells with 20,000 draws: mean 63, deviation 11.2, and six of these are allowed."""
    metrics = {f"m{index:05}": 0.5 for index in range(20_000)}
    products = MetricSchema.of(metrics).products(metrics, Fraction(3), seeded(5))
    noise = np.array([product - 3 * (2**53 * 2 + 1) * 2**69 for product in products])
    assert -(2**39) <= noise.min() < -(2**39) * 0.999
    assert 2**39 * 0.999 < noise.max() < 2**39
    for cells in (noise + 2**39 >> 34, noise & 63, (noise[1:] + 2**39 >> 37) * 8 + (noise[:-1] + 2**39 >> 37)):
        assert ((np.bincount(cells, minlength=64) - cells.size / 64) ** 2 / (cells.size / 64)).sum() < 63 + 6 * math.sqrt(126)


@given(st.integers(1, 10_000), st.data())
@example(10_000, None)
def test_what_a_rate_times_its_weight_is_off_from_the_count_is_little_beside_the_noise(examples: int, data: st.DataObject | None) -> None:
    """accuracy = correct / examples, weighted by the examples, is `correct` but for what the division rounded away."""
    correct = data.draw(st.integers(0, examples)) if data else examples - 1
    rate = {"accuracy": correct / examples}
    (product,) = MetricSchema.of(rate).products(rate, Fraction(examples), silent)
    residue = product - (correct + 2**53 * examples) * 2**70
    assert 500 * abs(residue) < 2 * METRIC_NOISE


@given(st.binary(max_size=100))
def test_random_bytes_are_a_decode_error(data: bytes) -> None:
    try:
        assert MetricSchema.decode(data).encode() == data
    except DecodeError:
        return


@given(METRICS, METRICS)
def test_the_schema_is_a_function_of_the_names_alone(one: dict[str, float], other: dict[str, float]) -> None:
    same = one.keys() == other.keys()
    assert (MetricSchema.of(one).encode() == MetricSchema.of(other).encode()) == same
    assert MetricSchema.of(dict.fromkeys(one, 0.5)) == MetricSchema.of(dict(reversed(one.items())))


def names(*items: bytes) -> bytes:
    return Writer().vector(items, Writer.opaque).getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (names(b"b", b"a"), "sorted"),
        (names(b"a", b"a"), "different"),
        (names(b"n" * 1025), "1025 bytes long"),
        (names(b"\xff"), "UTF-8"),
        ((1 << 31).to_bytes(4, "big"), "items"),
        (names(*[b"%05d" % i for i in range(MAX_METRIC_SLOTS + 1)]), "has 65537 items"),
        (names(b"a") + b"\0", "left over"),
        (names(b"a")[:-1], "are left"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_decoder_refuses(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        MetricSchema.decode(data)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0.5", "is a str"),
        (None, "is a NoneType"),
        (True, "is a bool"),
        (np.zeros(3), "is a ndarray"),
        ([0.5], "is a list: how long it is would leave this party in clear"),
        ((), "is a list: how long it is would leave this party in clear"),
        (math.nan, "is not a finite"),
        (-math.inf, "is not a finite"),
        (MAX_METRIC + 1, "is over 2\\^53"),
        (10**400, "is over 2\\^53"),
        (-1e30, "is over 2\\^53"),
    ],
)
def test_metrics_are_refused_by_name_and_without_their_value(value: object, why: str) -> None:
    metrics = {"loss": 0.25, "odd one": value}
    with pytest.raises(LocalError, match=f"metric 'odd one' {why}"):
        MetricSchema.of(metrics).products(metrics, Fraction(1), silent)


def test_the_largest_metric_is_allowed() -> None:
    metrics = {"most": MAX_METRIC, "least": -float(MAX_METRIC)}
    for fill in (silent, constant(0x00), constant(0xFF)):  # noise does not take it out of range
        least, most = MetricSchema.of(metrics).products(metrics, Fraction(1), fill)
        assert 0 <= least <= METRIC_NOISE
        assert 0 <= (2 * MAX_METRIC << 70) - most <= METRIC_NOISE


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("b", "a"), "sorted"),
        (("a", "a"), "different"),
        (("n" * 1025,), "metric name is not text"),
        ((1,), "metric name is not text"),
        (tuple(f"{i:05}" for i in range(MAX_METRIC_SLOTS + 1)), "more than 65536"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_constructor_refuses(names: tuple[str, ...], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        MetricSchema(names)


def test_names_that_are_no_text_are_refused_before_they_are_sorted() -> None:
    with pytest.raises(LocalError, match="metric name is not text"):
        MetricSchema.of({"a": 1, 2: 2})  # type: ignore[dict-item]
