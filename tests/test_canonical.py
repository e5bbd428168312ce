"""One value, one encoding; and what JSON parsers disagree about is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed import canonical
from stfed.errors import LocalError, MalformedError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside), max_leaves=20)


@given(VALUES)
def test_decode_gives_back_what_encode_wrote(value: Any) -> None:
    try:
        data = canonical.encode(value)
    except LocalError:  # a lone surrogate
        return
    assert canonical.decode(data, "it") == value
    assert canonical.encode(canonical.decode(data, "it")) == data


@given(VALUES)
def test_any_other_layout_is_refused(value: Any) -> None:
    try:
        data = canonical.encode(value)
    except LocalError:
        return
    other = json.dumps(value, indent=1).encode()
    if other == data:
        return
    assert canonical.parse(other, "it") == value
    with pytest.raises(MalformedError, match="canonical"):
        canonical.decode(other, "it")


@given(st.binary(max_size=60))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = canonical.decode(data, "it")
    except MalformedError:
        return
    assert canonical.encode(value) == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a":1,"a":2}', "'a' occurs twice"),
        (b'{"a":{"b":1,"c":2,"b":3}}', "'b' occurs twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e400]", "range of doubles"),
        (b"[-0]", "-0"),
        (b'["\\ud800"]', "UTF-8"),
        (b"\xff", "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "too long"),
    ],
)
def test_what_parsers_disagree_about(data: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        canonical.parse(data, "it")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": b"bytes"}, {1, 2}])
def test_values_without_a_json_form(value: Any) -> None:
    with pytest.raises(LocalError):
        canonical.encode(value)
