"""What the settings of a `Policy` are made of: one sentence for a value of the wrong type, whoever makes the policy.

A policy that a file says is read setting by setting (`policy_settings`); this is for those that Python code makes, whose mistakes would
otherwise come up as a TypeError in the middle of a comparison, or not before a coordinator asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, shown
from stfed.secagg.configlimit import ConfigLimit
from stfed.secagg.params import Mode

Fits = Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all(fits: Fits) -> Fits:
    return lambda value: isinstance(value, tuple) and all(map(fits, value))


def _two(fits: Fits) -> Fits:
    return lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(fits, value))


def _maybe(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _is(kind: type) -> Fits:
    return lambda value: isinstance(value, kind)


_KINDS: tuple[tuple[str, Fits, str], ...] = (
    ("a Mode", _is(Mode), "mode"),
    ("a number", _number, "gamma delta"),
    ("a whole number", _whole, "min_cohort min_survivors min_threshold max_parameters max_skipped_rounds eager_parties sigma"),
    ("a whole number or None", _maybe(_whole), "honest_survivors max_rounds roster"),
    ("a number or None", _maybe(_number), "noise_multiplier"),
    ("a tuple of two whole numbers", _two(_whole), "ring_bits"),
    ("a tuple of two numbers", _two(_number), "clip max_weight"),
    ("True or False", _is(bool), "clip_moves fixed_encoding allow_repeats"),
    ("a tuple of strings", _all(_is(str)), "weight_keys"),
    ("a tuple of TensorSpec, or None", _maybe(_all(_is(TensorSpec))), "tensors"),
    ("a tuple of ConfigLimit, or None", _maybe(_all(_is(ConfigLimit))), "config"),
)

KINDS: Mapping[str, tuple[str, Fits]] = {name: (words, fits) for words, fits, names in _KINDS for name in names.split()}
"""By setting: its kind in words, and whether a value is of it."""


def check_types(settings: Mapping[str, Any]) -> None:
    """Refuses settings of the wrong type.

    Raises:
        LocalError: for the first one, with what it must be.
    """
    for name, value in settings.items():
        words, fits = KINDS[name]
        if not fits(value):
            raise LocalError(f"{name} of the policy is {shown(value)}", hint=f"it must be {words}")
