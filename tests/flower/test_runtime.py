"""A run file: what TOML reads is what was written, and what Flower cannot hand to an app is refused by its key."""

from __future__ import annotations

import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.flower.runtime import RunConfigValue, check_run_config, to_toml

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


@given(st.dictionaries(TEXT, VALUES))
@example({"a b": "\U0001f600", "": "\x7f\x00\r\n", "a.b": '"""', "q\"'": "\\", "zero": -0.0, "small": 1e-05, "yes": True})
def test_toml_reads_what_was_written(values: dict[str, RunConfigValue]) -> None:
    found = tomllib.loads(to_toml(values).encode().decode())
    assert repr(found) == repr(values)  # which tells True from 1, and 0.0 from -0.0


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (date(2026, 1, 1), "kind date"),
        ({"x": 1}, "kind dict"),
        ([1], "kind list"),
        (None, "kind NoneType"),
        (float("nan"), "is nan"),
        (float("-inf"), "is -inf"),
        (2**63, "more than 64 bits"),
        (-(2**63) - 1, "more than 64 bits"),
        ("\ud800", "no Unicode text"),
    ],
)
def test_what_flower_cannot_hand_on_is_refused_by_its_key(value: Any, wrong: str) -> None:
    for function in (check_run_config, to_toml):
        with pytest.raises(LocalError, match=rf"^the run config's 'the key' .*{wrong}"):
            function({"good": 1, "the key": value})
