"""What a config value may be: the edges, the types, and that nothing that is not named gets through."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stfed.errors import LocalError
from stfed.secagg.configlimit import ConfigLimit, check_config
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ConfigError, RefusedError

LIMITS = (
    ConfigLimit("server-round"),
    ConfigLimit("lr", 1e-5, 0.1),
    ConfigLimit("epochs", 1, 5),
    ConfigLimit("patience", low=0),
    ConfigLimit("optimizer", one_of=("sgd", "adam", 3, True)),
    ConfigLimit("nothing", one_of=()),
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("server-round", value) for value in (1, -1.5, "x", b"x", True, [1, 2], math.nan)),
        *(("lr", value) for value in (1e-5, 0.1, 0.05)),
        *(("epochs", value) for value in (1, 5, 2.5)),
        *(("patience", value) for value in (0, 10**400, math.inf)),
        *(("optimizer", value) for value in ("sgd", "adam", 3, True)),
    ],
)
def test_what_is_allowed(name: str, value: object) -> None:
    check_config(LIMITS, [(name, value)])
    Policy(config=LIMITS).check_config([(name, value)])


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        *(("lr", value, "the config says 'lr' = .*, this party allows 1e-05 to 0.1") for value in (9e-6, 0.11, -0.05, math.inf)),
        *(("lr", value, "'lr'") for value in (math.nan, "0.05", b"0.05", True, False, [0.05], None)),
        *(("epochs", value, "this party allows 1 to 5") for value in (0, 6, True, 10**400)),
        *(("patience", value, "this party allows 0 to inf") for value in (-1, -math.inf)),
        *(("optimizer", value, "this party allows 'sgd', 'adam', 3, True") for value in ("Sgd", "", 3.0, 1, False, ["sgd"], b"sgd")),
        ("nothing", "x", "'nothing'"),
        ("other", 1, "the config has a value 'other', which this party does not allow"),
        ("LR", 0.05, "the config has a value 'LR'"),
        ("\x1b[2J", 1, r"a value '\\x1b\[2J'"),
    ],
)
def test_what_is_not(name: str, value: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        check_config(LIMITS, [("server-round", 1), (name, value)])
    with pytest.raises(RefusedError):
        Policy(config=LIMITS).check_config([(name, value)])
    Policy().check_config([(name, value)])


def test_a_value_that_comes_twice_is_looked_at_twice() -> None:
    """Once in the message and once in the run's config, say."""
    with pytest.raises(ConfigError, match="'epochs' = 6"):
        check_config(LIMITS, [("epochs", 5), ("epochs", 6)])


def test_no_limits_are_nothing_allowed() -> None:
    Policy(config=()).check_config([])
    with pytest.raises(ConfigError):
        Policy(config=()).check_config([("server-round", 1)])


@pytest.mark.parametrize(
    ("limit", "match"),
    [
        ({"low": 2.0, "high": 1.0}, "no number is a config value 'x': 2 to 1"),
        ({"low": math.nan}, "no number"),
        ({"high": math.nan}, "no number"),
        ({"low": 1.0, "one_of": ("a",)}, "has bounds and a choice"),
        ({"high": 1.0, "one_of": ()}, "has bounds and a choice"),
    ],
)
def test_limits_that_cannot_be(limit: dict[str, Any], match: str) -> None:
    with pytest.raises(LocalError, match=match):
        ConfigLimit("x", **limit)


def test_two_limits_for_one_value() -> None:
    with pytest.raises(LocalError, match="two of the allowed config values have the same name"):
        Policy(config=(ConfigLimit("x"), ConfigLimit("x", 1, 2)))
