"""Which wrappers and settings are refused, each with one sentence, before anything is sent (test_matrix.py has the strategies)."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg, Strategy

from stfed.errors import LocalError
from stfed.flower import SecureAggregation
from stfed.flower.compatibility import layers, weight_key
from stfed.flower.settings import Settings
from stfed.secagg.params import Mode
from tests.flower import apps


def made(kind: type[Strategy]) -> Strategy:
    """An instance; what `check` looks at is its class and its inner strategy."""
    strategy = kind.__new__(kind)
    if "strategy" in inspect.signature(kind.__init__).parameters:
        strategy.strategy = FedAvg()
    return strategy


@pytest.mark.parametrize("inner", ["FedMedian", "Krum", "QFedAvg"])
def test_a_strategy_inside_a_wrapper_is_looked_at_as_well(inner: str) -> None:
    wrapper = made(flower.DifferentialPrivacyClientSideFixedClipping)
    wrapper.strategy = made(getattr(flower, inner))
    with pytest.raises(LocalError, match=f"{inner} cannot run"):
        SecureAggregation(wrapper)


@pytest.mark.parametrize("other", [None, "FedAvg", FedAvg, object()])
def test_something_that_is_no_strategy(other: Any) -> None:
    with pytest.raises(LocalError, match="wraps a Flower strategy, not a"):
        SecureAggregation(other)


def test_layers_end_even_if_they_go_round_in_a_circle() -> None:
    one, two = made(flower.DifferentialPrivacyClientSideFixedClipping), made(flower.DifferentialPrivacyClientSideAdaptiveClipping)
    one.strategy, two.strategy = two, one
    assert layers(one) == [one, two]


def test_the_weight_key_is_the_innermost_strategys() -> None:
    assert weight_key(FedAvg()) == "num-examples"
    wrapper = made(flower.DifferentialPrivacyClientSideFixedClipping)
    wrapper.strategy = FedAvg(weighted_by_key="batches")
    assert weight_key(wrapper) == "batches"

    class Bare(Strategy):
        def configure_train(self, *_: Any) -> Any: ...

        def aggregate_train(self, *_: Any) -> Any: ...

        def configure_evaluate(self, *_: Any) -> Any: ...

        def aggregate_evaluate(self, *_: Any) -> Any: ...

        def summary(self) -> None: ...

    assert weight_key(Bare()) == "num-examples"


# The outermost wrapper


def test_secure_aggregation_inside_another_wrapper_is_refused_before_anything_is_sent() -> None:
    grid = apps.secure_grid(4)
    outer = flower.DifferentialPrivacyClientSideFixedClipping(apps.secure(), 0.1, 1.0, 4)
    with pytest.raises(LocalError, match="has to be the outermost strategy"):
        outer.start(grid, apps.model(), 1)
    assert grid.dump == []


def test_the_methods_that_a_wrapper_would_call_are_refused() -> None:
    strategy = apps.secure()
    calls = [
        lambda: strategy.configure_train(1, ArrayRecord(), None, None),
        lambda: strategy.aggregate_train(1, []),
        lambda: strategy.configure_evaluate(1, ArrayRecord(), None, None),
        lambda: strategy.aggregate_evaluate(1, []),
    ]
    for call in calls:
        with pytest.raises(LocalError, match="outermost"):
            call()


def test_secure_aggregation_twice_is_one_too_many() -> None:
    wrapper = made(flower.DifferentialPrivacyClientSideFixedClipping)
    wrapper.strategy, wrapper.accountant = apps.secure(), None
    for inner in (apps.secure(), wrapper):
        with pytest.raises(LocalError, match="outermost"):
            apps.secure(inner)


# Settings


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"ring_bits": 7}, "ring_bits=7 is outside [8, 64]"),
        ({"ring_bits": 65}, "ring_bits=65 is outside [8, 64]"),
        ({"ring_bits": 32.0}, "ring_bits is a float"),
        ({"clip": 0.0}, "clip=0 is outside"),
        ({"clip": -1.0}, "clip=-1 is outside"),
        ({"clip": float("nan")}, "clip=nan is outside"),
        ({"clip": "8"}, "clip is a str"),
        ({"max_weight": 0}, "max_weight=0 is outside"),
        ({"max_weight": 1e30}, "max_weight=1e+30 is outside"),
        ({"metric_slots": -1}, "metric_slots=-1 is outside"),
        ({"gamma": 1.0}, "gamma = 1.0 is outside [0, 1)"),
        ({"gamma": "some"}, "gamma = 'some' is not a number"),
        ({"delta": -0.1}, "delta = -0.1 is outside [0, 1)"),
        ({"graph": "star"}, "graph is 'star'"),
        ({"threshold": 0}, "threshold is 0, it must be a whole number"),
        ({"threshold": 2.5}, "threshold is 2.5, it must be a whole number"),
        ({"neighbours": True}, "neighbours is True, it must be a whole number"),
        ({"light_timeout_s": 0}, "light_timeout_s is 0, it must be a positive number of seconds"),
        ({"light_timeout_s": None}, "light_timeout_s is None"),
        ({"light_timeout_s": float("nan")}, "light_timeout_s is nan"),
        ({"on_failure": "retry"}, "on_failure is 'retry'"),
        ({"uniform": 1}, "uniform is 1"),
        ({"mode": "honest"}, "mode is 'honest'"),
        ({"mode": Mode.MALICIOUS}, "malicious mode needs the roster"),
        ({"mode": 2}, "mode is 2"),
        ({"allow_insecure": "no"}, "allow_insecure is 'no'"),
        ({"epsilon": 1.0}, "unexpected keyword argument 'epsilon'"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_with_one_sentence(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalError) as caught:
        SecureAggregation(FedAvg(), **settings)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_says_which_there_are() -> None:
    with pytest.raises(LocalError) as caught:
        SecureAggregation(FedAvg(), cliping=3.0)
    assert "clip, max_weight" in str(caught.value.hint)


def test_settings_and_their_fields_are_not_both_given() -> None:
    with pytest.raises(LocalError, match="clip, gamma and settings are both given"):
        SecureAggregation(FedAvg(), Settings(), gamma=0.2, clip=3.0)
    assert SecureAggregation(FedAvg(), Settings(clip=3.0)).settings.clip == 3.0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"threshold": 6}, "t = 6"),
        ({"neighbours": 9}, "k = 9 neighbours in a cohort of 6"),
        ({"neighbours": 3}, "k = 3 neighbours: a ring has as many to the left as to the right"),
    ],
)
def test_settings_that_can_not_be_met_by_everybody_end_the_run(settings: dict[str, Any], text: str) -> None:
    """Also with on_failure="skip": the next round would fail the same way."""
    with pytest.raises(LocalError) as caught:
        apps.secure(**settings, on_failure="skip").start(apps.secure_grid(6), apps.model(), 1)
    assert text in str(caught.value)


def test_settings_as_they_stand_in_the_event_log() -> None:
    entry = Settings(gamma=0.2).as_dict()
    assert entry["gamma"] == 0.2
    assert entry["mode"] == "semi-honest"
    assert set(entry) == set(Settings.__dataclass_fields__)


def test_recipients_without_a_folder() -> None:
    with pytest.raises(LocalError, match="not in which folder to save them"):
        SecureAggregation(FedAvg(), recipients=["KEY.pub"])
