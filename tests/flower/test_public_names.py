"""The public face of `stfed.flower` fits Flower's, and a party loads little of it. The names themselves: tests/test_public_names.py."""

from __future__ import annotations

import inspect
import subprocess
import sys

from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from stfed.flower import SecureAggregation, SecureGrid, secagg_mod


def test_the_wrapper_is_a_strategy_with_flowers_start() -> None:
    assert issubclass(SecureAggregation, Strategy)
    assert issubclass(SecureGrid, Grid)
    ours, flowers = inspect.signature(SecureAggregation.start).parameters, inspect.signature(Strategy.start).parameters
    assert [(name, parameter.default) for name, parameter in ours.items()] == [
        (name, parameter.default) for name, parameter in flowers.items()
    ]


def test_the_wrapper_s_own_arguments() -> None:
    parameters = inspect.signature(SecureAggregation).parameters
    own = ["roster", "save", "recipients", "signer", "policy", "audit", "model", "events", "journal", "accumulate", "ckks"]
    assert list(parameters) == ["strategy", "settings", *own, "fields"]
    keyword_only = [name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    assert keyword_only == own


def test_the_mod_has_the_signature_of_a_mod() -> None:
    assert list(inspect.signature(secagg_mod).parameters) == ["message", "context", "call_next"]


def test_a_party_does_not_load_what_it_does_not_need() -> None:
    """Flower starts a process for every message: torch, the sealed files' display and the testing kit are not for it."""
    code = "import sys; from stfed.flower.mod import secagg_mod; print([m for m in sys.argv[1:] if m in sys.modules])"
    unwanted = ["torch", "sqlalchemy", "stfed.flower.strategy", "stfed.testing", "stfed.cli", "hypothesis", "pytest", "ray"]
    result = subprocess.run([sys.executable, "-c", code, *unwanted], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"
