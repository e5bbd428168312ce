"""A model or a config that a party has not agreed to: refused before its function runs, in training and in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, MetricRecord, RecordDict

from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, QuorumError
from stfed.flower import SecureGrid
from stfed.flower.agreed import check_agreed
from stfed.flower.settings import Settings
from stfed.secagg.configlimit import ConfigLimit
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ConfigError, PlanError
from tests.flower import apps

N = 4
AGREED = tuple(TensorSpec(name, "float32", shape) for name, shape in apps.SHAPES.items())
MODEL_POLICY = Policy(tensors=AGREED)
CONFIG_POLICY = Policy(config=(ConfigLimit("server-round", 1, 5), ConfigLimit("lr", 0.0, 0.1)))
ROUND: dict[str, Any] = {"server-round": 1}


def context(**run_config: Any) -> Context:
    return Context(1, 2, {"anything": "its own"}, RecordDict(), run_config)


def content(arrays: ArrayRecord | None = None, **config: Any) -> RecordDict:
    return RecordDict({"arrays": arrays or apps.model(), "config": ConfigRecord(config)})


def asked(policy: Policy, kind: str, arrays: ArrayRecord | None = None, **config: Any) -> tuple[list[str], str]:
    """One round: which functions were called, and why it failed ("" if it did not)."""
    calls: list[str] = []

    def train(*inputs: Any) -> apps.Trained:
        calls.append("train")
        return apps.train(*inputs)

    def evaluate(*inputs: Any) -> dict[str, Any]:
        calls.append("evaluate")
        return apps.evaluate(*inputs)

    app = apps.client_app(apps.secure_mod(policy=policy), train=train, evaluate=evaluate)
    grid = apps.secure_grid(N, app=app)
    try:
        SecureGrid(grid, settings()).send_and_receive(apps.messages(grid, arrays, kind, **config))
    except QuorumError as error:
        return calls, str(error)
    return calls, ""


def settings() -> Settings:
    return Settings(clip=1.0, max_weight=128.0)


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_the_model_that_was_agreed_on(kind: str) -> None:
    assert asked(MODEL_POLICY, kind) == ([kind] * N, "")


@pytest.mark.parametrize("kind", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"probe": np.zeros(3, np.float32)}, "a tensor 'probe', which this party does not allow"),
        ({"scalar": np.zeros(1, np.float32)}, r"the tensor 'scalar' is float32[1], this party allows float32[]"),
        ({"scalar": np.zeros((), np.float64)}, r"the tensor 'scalar' is float64[], this party allows float32[]"),
    ],
)
def test_another_model_never_reaches_the_function(kind: str, changes: dict[str, Any], match: str) -> None:
    """An evaluation sends no model back, so its encoding says nothing about the one that comes."""
    calls, reason = asked(MODEL_POLICY, kind, apps.record_of(apps.numpy_of(apps.model()) | changes))
    assert calls == []
    assert match in reason


def test_what_counts_is_what_the_function_would_read_not_what_the_record_says() -> None:
    lying = Array(np.zeros(1000, np.float32))
    said = ArrayRecord({name: array for name, array in apps.model().items() if name != "scalar"} | {"scalar": lying})
    said["scalar"].shape = ()  # what somebody who builds messages by hand can write
    with pytest.raises(PlanError, match=r"float32\[1000\]"):
        check_agreed(MODEL_POLICY, content(said), context())


def test_each_of_several_models_is_the_one_that_was_agreed_on() -> None:
    records = content()
    records["second"] = apps.record_of({"w": np.zeros(1, np.float32)})
    with pytest.raises(PlanError, match="'w'"):
        check_agreed(MODEL_POLICY, records, context())
    check_agreed(Policy(), records, context(anything=1))


def test_an_array_of_something_else_is_an_error() -> None:
    with pytest.raises(LocalError, match="cannot be averaged"):
        check_agreed(MODEL_POLICY, content(apps.record_of({"scalar": np.zeros(1, np.complex64)})), context())


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_config_that_was_not_agreed_on_never_reaches_the_function(kind: str) -> None:
    assert asked(CONFIG_POLICY, kind, lr=0.1) == ([kind] * N, "")
    for config, match in (
        ({"lr": 0.2}, "'lr' = 0.2, this party allows 0 to 0.1"),
        ({"only-patient": 17}, "a value 'only-patient', which this party does not allow"),
        ({"server-round": 6}, "'server-round' = 6"),
    ):
        calls, reason = asked(CONFIG_POLICY, kind, **config)
        assert calls == []
        assert match in reason


def test_whatever_the_function_can_read_counts() -> None:
    good = content(**ROUND)
    check_agreed(CONFIG_POLICY, good, context(lr=0.1))
    with pytest.raises(ConfigError, match=r"'lr' = 0\.2"):
        check_agreed(CONFIG_POLICY, good, context(lr=0.2))
    with pytest.raises(ConfigError, match="'seed'"):
        check_agreed(CONFIG_POLICY, good, context(seed=1))
    for record in (ConfigRecord({"lr": 0.2}), MetricRecord({"lr": 0.2})):
        records = content(**ROUND)
        records["more"] = record
        with pytest.raises(ConfigError, match=r"'lr' = 0\.2"):
            check_agreed(CONFIG_POLICY, records, context())


def test_a_refusal_spends_nothing() -> None:
    """The round's one use is not spent by a TRAIN that was refused: the party is still where PREPARE left it."""
    grid = apps.secure_grid(N, policy=CONFIG_POLICY)
    secure = SecureGrid(grid, settings())
    with pytest.raises(QuorumError, match="'lr'"):
        secure.send_and_receive(apps.messages(grid, lr=7.0))
    assert len(list(secure.send_and_receive(apps.messages(grid, lr=0.05)))) == N
