"""Every run file in configs/ runs: its recipe, through the hospitals' own ServerApp and ClientApp, shortened and in memory."""

from __future__ import annotations

import io
import json
import logging
import tomllib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from rich.console import Console

from examples.hospitals import client_app, compare, server_app, task
from examples.hospitals.data import partitions
from stfed.cli.lines import Lines
from stfed.errors import LocalError
from stfed.flower import AdaptiveClip
from stfed.flower.records import describe
from stfed.testing import InMemoryGrid
from tests.flower import apps

ROOT = Path(__file__).parents[2]
DEFAULTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
CONFIGS = {path.stem: tomllib.loads(path.read_text()) for path in sorted((ROOT / "configs").glob("*.toml"))}
ROUNDS = 2

Config = Mapping[str, Any]


def shortened(name: str, **changes: object) -> dict[str, Any]:
    """Fewer rounds, parties and steps, a smaller data set; what makes the recipe stays."""
    config = {**DEFAULTS, **CONFIGS[name], "num-server-rounds": ROUNDS, "local-epochs": 1, "batch-size": 64}
    config["dataset"] = {"mnist": "digits"}.get(config["dataset"], config["dataset"])
    if not config["group-size"]:
        config["num-parties"] = 6
    config["drop-per-round"] = min(1, config["drop-per-round"])
    return {**config, **{key.replace("_", "-"): value for key, value in changes.items()}}


def run(config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events of the app with this run config."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    monkeypatch.setenv("STFED_STATE_DIR", str(apps.scratch()))
    config = {**config, "run-dir": str(folder)}
    grid = InMemoryGrid(client_app.app, config["num-parties"], run_config=config, describe=describe, keep_payloads=False)
    server_app.app(grid, Context(grid.run.run_id, 1, {}, RecordDict(), config))
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def settings_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    settings: dict[str, Any] = events[0]["settings"]
    return settings


def trained(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "round" and event["phase"] == "train"]


SHOWS: dict[str, Callable[[list[dict[str, Any]], Config], bool]] = {
    "secure_fedavg": lambda events, config: events[0]["strategy"] == "FedAvg" and settings_of(events)["ring_bits"] == 32,
    "secure_fedadam": lambda events, config: events[0]["strategy"] == "FedAdam",
    "secure_fedprox": lambda events, config: events[0]["strategy"] == "FedProx" and config["proximal-mu"] > 0,
    "secure_lowbit": lambda events, config: settings_of(events)["value_bits"] == 8 and settings_of(events)["rotation"],
    "secure_median": lambda events, config: events[0]["strategy"] == "FedMedian" and len(trained(events)) == 5 * ROUNDS,
    "secure_multikrum": lambda events, config: events[0]["strategy"] == "MultiKrum" and len(trained(events)) == 5 * ROUNDS,
    "secure_dp_fedavg": lambda events, config: sum(event["event"] == "release" for event in events) == ROUNDS,
}
"""What of a run shows that it is that recipe's."""


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_runs_its_recipe(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shortened(name)
    events = run(config, tmp_path, monkeypatch)
    assert events[-1]["event"] == "end"
    assert events[-1]["failure"] is None
    assert all(event["failure"] is None for event in events if event["event"] == "round")
    assert SHOWS[config["strategy"]](events, config)
    summed = {at: sum(len(event["summed"]) for event in trained(events) if event["server_round"] == at) for at in (1, 2)}
    assert set(summed.values()) == {config["num-parties"] - config["drop-per-round"]}
    evaluations = {json.dumps(event["metrics"]) for event in events if event["event"] == "evaluation"}
    assert len(evaluations) == (0 if config["shared-tensors"] else ROUNDS + 1), "the model stays"


def test_a_head_that_is_not_shared_stays_at_each_hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STFED_STATE_DIR", str(apps.scratch()))
    config = {**shortened("personal", drop_per_round=0), "run-dir": str(tmp_path)}
    grid = InMemoryGrid(client_app.app, config["num-parties"], run_config=config, describe=describe)
    server_app.app(grid, Context(grid.run.run_id, 1, {}, RecordDict(), config))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    model = task.make_model(config["dataset"], config["seed"])
    assert {event["parameters"] for event in trained(events)} == {sum(tensor.numel() for tensor in model.hidden.state_dict().values())}
    heads = [next(iter(grid.node(party).context.state.array_records.values())) for party in range(config["num-parties"])]
    assert all(set(head) == {"out.weight", "out.bias"} for head in heads)
    assert len({head["out.bias"].numpy().tobytes() for head in heads}) == config["num-parties"]


def test_the_clip_of_a_run_file_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shortened("adaptive", num_server_rounds=4, local_epochs=5, batch_size=16)
    events = run(config, tmp_path, monkeypatch)
    first, *rest = [event["clip"] for event in trained(events)]
    assert first == 2.0**-8
    assert rest[-1] > 30 * first
    parameters = {event["parameters"] for event in trained(events)}.pop()
    assert trained(events)[0]["clipped"] > 0.5 * 5 * parameters
    assert trained(events)[-1]["clipped"] < 0.01 * 5 * parameters

    shown = io.StringIO()
    progress = Lines(Console(file=shown, width=200))
    for event in events:
        progress.event(event)
    assert "8-bit values, rotated, a learnt clip, up to 10%" in shown.getvalue()
    assert all(f"clip {clip:g}" in shown.getvalue() for clip in (first, *rest))


def test_every_recipe_has_a_config_and_every_config_a_recipe() -> None:
    recipes = {path.stem for path in (ROOT / "strategies").glob("secure_*.py")}
    assert {config["strategy"] for config in CONFIGS.values()} == recipes == set(SHOWS)
    page = (ROOT / "docs" / "strategies.md").read_text()
    assert all(f"../strategies/{recipe}.py" in page for recipe in recipes)
    assert all(f"../configs/{name}.toml" in page for name in CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plain_strategy_of_a_recipe_is_there_to_compare_with(name: str) -> None:
    inner = import_module(f"strategies.{CONFIGS[name]['strategy']}").inner(DEFAULTS)
    assert type(compare._strategy(shortened(name))) is type(inner)


def test_low_bits_want_a_clip_that_fits_and_bits() -> None:
    build = import_module("strategies.secure_lowbit").build
    with pytest.raises(LocalError, match="value-bits is not set"):
        build(shortened("lowbit", value_bits=0))
    with pytest.raises(LocalError, match=r"a clip of 8.0 leaves few bits"):
        build(shortened("lowbit", clip=8.0))
    assert build(shortened("lowbit", clip=8.0, clip_target=1e-4)).settings.clip == AdaptiveClip(initial=8.0)


def test_the_proximal_term_holds_a_party_near_the_model_that_came() -> None:
    own = partitions("breast-cancer", 10, 0.5, 7)[1].train
    start = task.make_model("breast-cancer", 7).state_dict()

    def distance(**options: float) -> float:
        model = task.make_model("breast-cancer", 7)
        task.train(model, own, epochs=3, lr=0.05, batch_size=16, seed=7, server_round=1, party=1, **options)
        return sum(float(((value - start[name]) ** 2).sum()) for name, value in model.state_dict().items())

    free, none, some, much = distance(), distance(proximal_mu=0.0), distance(proximal_mu=0.1), distance(proximal_mu=5.0)
    assert free == none
    assert free > some > 4 * much > 0


def test_the_train_function_takes_the_term_from_the_message() -> None:
    """FedProx sends it; what other strategies send has none."""
    config = shortened("fedprox", drop_per_round=0, num_server_rounds=1, batch_size=16)
    near, free = (compare.plain({**config, "proximal-mu": mu}).states for mu in (5.0, 0.0))
    moved = [sum(float((state[1][name] - state[0][name]).abs().sum()) for name in state[0]) for state in (near, free)]
    assert moved[0] < moved[1] / 2
