"""What the demo compares with: plain FedAvg with the same drop-outs, and each hospital alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from examples.hospitals import client_app, compare, task
from examples.hospitals.data import partitions
from stfed.report.eventlog import read
from stfed.report.protection import unprotected
from stfed.report.run import Run
from stfed.testing import InMemoryGrid

ROOT = Path(__file__).parents[2]


def quickstart(**changes: bool | float | int | str) -> dict[str, bool | float | int | str]:
    config = tomllib.loads((ROOT / "configs" / "quickstart.toml").read_text())
    return config | {key.replace("_", "-"): value for key, value in changes.items()}


def test_the_quickstart_is_worth_federating() -> None:
    config = quickstart()
    plain, alone = compare.plain(config), compare.alone(config)
    assert len(plain.states) == len(plain.accuracies) == 11
    assert len(alone) == 10
    assert plain.accuracies[-1] >= 0.96
    assert plain.accuracies[-1] >= sum(alone) / len(alone) + 0.05


def test_plain_is_the_weighted_mean_of_those_who_did_not_drop() -> None:
    config = quickstart(num_server_rounds=1, drop_per_round=3)
    gone = task.dropped(7, 1, 10, 3)
    total, weight = {}, 0
    for party, own in enumerate(partitions("breast-cancer", 10, 0.5, 7)):
        if party not in gone:
            model = task.make_model("breast-cancer", 7)
            task.train(model, own.train, epochs=5, lr=0.05, batch_size=16, seed=7, server_round=1, party=party)
            weight += len(own.train.y)
            for name, value in model.state_dict().items():
                total[name] = total.get(name, 0) + value.double() * len(own.train.y)
    state = compare.plain(config).states[1]
    for name, value in state.items():
        torch.testing.assert_close(value.double(), total[name] / weight, atol=1e-6, rtol=0)


def test_round_by_round_from_the_plain_models_gives_the_plain_models() -> None:
    for strategy in ("secure_fedavg", "secure_fedadam"):
        config = quickstart(num_server_rounds=3, strategy=strategy)
        states = compare.plain(config).states
        again = compare.round_by_round(config, states)
        assert len(again) == 3
        assert max(map(compare.largest_difference, again, states[1:])) < 1e-6
        shifted = [{name: value + 0.01 for name, value in states[0].items()}, *states[1:]]
        assert compare.largest_difference(compare.round_by_round(config, shifted)[0], states[1]) > 1e-4


def test_the_comparison_repeats_exactly() -> None:
    config = quickstart(num_server_rounds=2)
    first, second = compare.plain(config), compare.plain(config)
    assert first.accuracies == second.accuracies
    assert all(torch.equal(first.states[2][name], second.states[2][name]) for name in first.states[2])


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_a_hospital_is_offline_when_it_is_its_turn_and_only_in_that_step(step: str) -> None:
    app = ClientApp()
    app.train()(client_app.train)
    app.evaluate()(client_app.evaluate)
    grid = InMemoryGrid(app, 10, run_config=quickstart(drop_per_round=2, drop_step=step))
    arrays = ArrayRecord(task.make_model("breast-cancer", 7).state_dict())
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 4, "lr": 0.05})})
    for message_type in ("train", "evaluate"):
        replies = grid.send_and_receive([Message(content, node_id, message_type) for node_id in grid.get_node_ids()])
        gone = {party for party, reply in enumerate(replies) if reply.has_error()}
        assert gone == (task.dropped(7, 4, 10, 2) if message_type == step else set())
        assert all(f"hospital {party} is offline (scripted)" in replies[party].error.reason for party in gone)


def test_metrics_have_the_names_of_flowers_template() -> None:
    context = Context(1, 2, {"partition-id": 0, "num-partitions": 10}, RecordDict(), quickstart(drop_per_round=0))
    InMemoryGrid(ClientApp(), 1)  # lets Message(...) be built
    arrays = ArrayRecord(task.make_model("breast-cancer", 7).state_dict())
    message = Message(RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1, "lr": 0.05})}), 2, "train")
    assert set(client_app.train(message, context).content["metrics"]) == {"train_loss", "num-examples"}
    assert set(client_app.evaluate(message, context).content["metrics"]) == {"eval_loss", "eval_acc", "num-examples"}


def test_run_files_are_flat_and_differ_only_in_values() -> None:
    configs = [tomllib.loads(path.read_text()) for path in sorted((ROOT / "configs").glob("*.toml"))]
    assert len(configs) >= 2
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    for config in configs:
        assert set(config) <= set(known)  # Flower refuses a key that the app does not declare
        assert all(isinstance(value, bool | int | float | str) for value in config.values())
        assert all(type(value) is type(known[key]) for key, value in config.items())


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (ROOT / "configs" / "quickstart.toml").read_text().replace("num-server-rounds = 10", "num-server-rounds = 1")
    path = tmp_path / "run.toml"
    path.write_text(text)
    compare.main([str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plain, accuracy by round: 0.658 ")
    assert len(lines) == 12
    assert lines[-1].startswith("mean of the hospitals alone: 0.")


def test_the_command_writes_plain_logs_to_hold_a_run_against(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (ROOT / "configs" / "quickstart.toml").read_text().replace("num-server-rounds = 10", "num-server-rounds = 1")
    (tmp_path / "run.toml").write_text(text)
    compare.main([str(tmp_path / "run.toml"), "--events", str(tmp_path / "plain"), "--seeds", "2"])
    logs = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [log.name for log in logs] == ["plain-7.jsonl", "plain-8.jsonl"]
    first, second = (Run.of(read(log)) for log in logs)
    config = {**tomllib.loads(text), "num-server-rounds": 1}
    assert first.series()["global accuracy"] == pytest.approx(dict(enumerate(compare.plain(config).accuracies)))
    assert first.series() != second.series()
    assert unprotected(first)
    assert [(one.phase, one.asked, one.summed) for one in first.sums] == [("train", 10, 9), ("evaluate", 10, 10)]
