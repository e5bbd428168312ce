"""MetricSchema: its one encoding, the slots, and what is refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding import MetricSchema
from stfed.encoding.plan import MAX_METRIC
from stfed.errors import DecodeError, LocalError
from stfed.wire import Writer

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-(2**53), 2**53))
METRICS = st.dictionaries(st.text(max_size=6), st.one_of(NUMBERS, st.lists(NUMBERS, max_size=4)), max_size=6)


@given(METRICS)
def test_encoding_is_the_identity(metrics: dict[str, float | list[float]]) -> None:
    schema = MetricSchema.of(metrics)
    assert MetricSchema.decode(schema.encode()) == schema
    assert [name for name, _ in schema.entries] == sorted(metrics)


@given(METRICS)
def test_values_fill_the_slots_in_name_order_and_come_back(metrics: dict[str, float | list[float]]) -> None:
    schema = MetricSchema.of(metrics)
    units = list(schema.units(metrics))
    assert len(units) == schema.slots
    back = schema.assemble([unit / 2**30 for unit in units])
    assert list(back) == sorted(metrics)
    for name, value in metrics.items():
        assert isinstance(back[name], list) == isinstance(value, list)
        np.testing.assert_allclose(back[name], value, rtol=2**-52, atol=2**-31)


@given(st.binary(max_size=100))
def test_random_bytes_are_a_decode_error(data: bytes) -> None:
    try:
        assert MetricSchema.decode(data).encode() == data
    except DecodeError:
        return


def entries(*items: tuple[bytes, int]) -> bytes:
    return Writer().vector(items, lambda w, item: w.opaque(item[0]).u32(item[1])).getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (entries((b"b", 0), (b"a", 0)), "sorted"),
        (entries((b"a", 0), (b"a", 0)), "different"),
        (entries((b"a", 1 << 17)), "more than 65536 numbers"),
        (entries((b"n" * 1025, 0)), "1025 bytes long"),
        (entries((b"\xff", 0)), "UTF-8"),
        ((1 << 31).to_bytes(4, "big"), "items"),
        (entries((b"a", 0)) + b"\0", "left over"),
        (entries((b"a", 0))[:-1], "are left"),
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
        ([0.5, "x"], "is a str"),
        ([0.5, math.nan], "is not a finite"),
        (math.nan, "is not a finite"),
        (-math.inf, "is not a finite"),
        (MAX_METRIC + 1, "is over 2\\^53"),
        (-1e30, "is over 2\\^53"),
    ],
)
def test_metrics_are_refused_by_name_and_without_their_value(value: object, why: str) -> None:
    metrics = {"loss": 0.25, "odd one": value}
    with pytest.raises(LocalError, match=f"metric 'odd one' {why}"):
        list(MetricSchema.of(metrics).units(metrics))  # type: ignore[arg-type]


def test_the_largest_metric_is_allowed() -> None:
    metrics = {"most": MAX_METRIC, "least": -float(MAX_METRIC)}
    assert list(MetricSchema.of(metrics).units(metrics)) == [-MAX_METRIC << 30, MAX_METRIC << 30]
