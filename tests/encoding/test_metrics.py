"""MetricSchema: its one encoding, the slots, and what is refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding import MetricSchema
from stfed.encoding.plan import MAX_METRIC, MAX_METRIC_SLOTS
from stfed.errors import DecodeError, LocalError
from stfed.wire import Writer

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-(2**53), 2**53))
METRICS = st.dictionaries(st.text(max_size=6), NUMBERS, max_size=6)


@given(METRICS)
def test_encoding_is_the_identity(metrics: dict[str, float]) -> None:
    schema = MetricSchema.of(metrics)
    assert MetricSchema.decode(schema.encode()) == schema
    assert list(schema.names) == sorted(metrics)


@given(METRICS)
def test_values_fill_the_slots_in_name_order_and_come_back(metrics: dict[str, float]) -> None:
    schema = MetricSchema.of(metrics)
    units = schema.units(metrics)
    back = schema.assemble([unit / 2**30 for unit in units])
    assert list(back) == sorted(metrics)
    for name, value in metrics.items():
        np.testing.assert_allclose(back[name], value, rtol=2**-52, atol=2**-31)


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
        (-1e30, "is over 2\\^53"),
    ],
)
def test_metrics_are_refused_by_name_and_without_their_value(value: object, why: str) -> None:
    metrics = {"loss": 0.25, "odd one": value}
    with pytest.raises(LocalError, match=f"metric 'odd one' {why}"):
        MetricSchema.of(metrics).units(metrics)


def test_the_largest_metric_is_allowed() -> None:
    metrics = {"most": MAX_METRIC, "least": -float(MAX_METRIC)}
    assert MetricSchema.of(metrics).units(metrics) == [-MAX_METRIC << 30, MAX_METRIC << 30]


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
