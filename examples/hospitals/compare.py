"""hospitals: what the federation is worth, computed in process, without Flower's runtime and without `stfed`'s protocol.

`plain` is the recipe's own Flower strategy over the same train and evaluate functions, with the same hospitals dropping out in the same
rounds, and `round_by_round` one plain round at a time from the secure run's models: what the secure run must equal. `alone` is what each
hospital gets out of its own data for the same number of steps. All accuracies are on the public test set.

    python -m examples.hospitals.compare configs/quickstart.toml

With a folder it writes plain event logs instead, of the run file's seed and of the next ones, for `stfed report RUN --beside`:

    python -m examples.hospitals.compare configs/quickstart.toml --events plain --seeds 3
"""

from __future__ import annotations

import argparse
import logging
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import Strategy

from examples.hospitals import client_app, task
from examples.hospitals.data import partitions, public_test
from stfed.flower.plain import PlainAggregation
from stfed.testing import InMemoryGrid

Config = Mapping[str, bool | float | int | str]
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plain:
    """A plain run: `states[r]` and `accuracies[r]` are those after round r, 0 the initial model's."""

    states: tuple[State, ...]
    accuracies: tuple[float, ...]


def plain(config: Config) -> Plain:
    """The strategy without secure aggregation, with the script's drop-outs."""
    dataset, seed = str(config["dataset"]), int(config["seed"])
    model, states, accuracies = task.make_model(dataset, seed), [], []

    def keep(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        states.append(dict(arrays.to_torch_state_dict()))
        model.load_state_dict(states[-1])
        accuracies.append(task.evaluate(model, public_test(dataset, seed))[1])
        return MetricRecord({"accuracy": accuracies[-1]})

    random.seed(seed)
    with _quiet():
        _strategy(config).start(
            _grid(config),
            ArrayRecord(model.state_dict()),
            num_rounds=int(config["num-server-rounds"]),
            train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
            evaluate_fn=keep,
        )
    return Plain(tuple(states), tuple(accuracies))


def round_by_round(config: Config, states: Sequence[State]) -> list[State]:
    """What each plain round makes of the model that the secure run had before it.

    Two whole runs drift apart, because training amplifies the last bits of a model round by round; one round from the same model does not.

    Args:
        config: of the run.
        states: the secure run's models, the initial one first.

    Returns:
        One model less: after round 1, 2, ...
    """
    grid, results = _grid(config), list[State]()
    train_config = ConfigRecord({"lr": float(config["learning-rate"])})
    random.seed(int(config["seed"]))
    with _quiet():
        strategy = _strategy(config)
        for server_round, state in enumerate(states[:-1], start=1):
            replies = grid.send_and_receive(strategy.configure_train(server_round, ArrayRecord(dict(state)), train_config, grid))
            arrays, _ = strategy.aggregate_train(server_round, replies)
            assert arrays is not None, "the plain round has as many replies as the secure one"
            results.append(dict(arrays.to_torch_state_dict()))
    return results


def largest_difference(one: State, other: State) -> float:
    """Of any weight of two models."""
    return max((one[name] - value).abs().max().item() for name, value in other.items())


def _grid(config: Config) -> InMemoryGrid:
    app = ClientApp()
    app.train()(client_app.train)
    app.evaluate()(client_app.evaluate)
    return InMemoryGrid(app, int(config["num-parties"]), run_config=dict(config), keep_payloads=False)


def _strategy(config: Config, *, evaluates: bool = False) -> Strategy:
    asked = {} if evaluates else {"fraction-evaluate": 0.0}
    strategy: Strategy = import_module(f"strategies.{config['strategy']}").inner({**config, **asked})
    return strategy


def plain_log(config: Config, events: Path) -> None:
    """The whole plain run, evaluation by the hospitals too, with an event log that says that nothing protected them."""
    dataset, seed = str(config["dataset"]), int(config["seed"])
    model = task.make_model(dataset, seed)

    def measured(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = task.evaluate(model, public_test(dataset, seed))
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    random.seed(seed)
    with _quiet():
        PlainAggregation(_strategy(config, evaluates=True), events=events).start(
            _grid(config),
            ArrayRecord(model.state_dict()),
            num_rounds=int(config["num-server-rounds"]),
            train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
            evaluate_fn=measured,
        )


def alone(config: Config) -> tuple[float, ...]:
    """Each hospital's accuracy after training on its own data for as many rounds, never offline."""
    dataset, seed, num_parties = str(config["dataset"]), int(config["seed"]), int(config["num-parties"])
    accuracies = []
    for party, own in enumerate(partitions(dataset, num_parties, float(config["dirichlet-alpha"]), seed)):
        model = task.make_model(dataset, seed)
        for server_round in range(1, int(config["num-server-rounds"]) + 1):
            task.train(
                model,
                own.train,
                epochs=int(config["local-epochs"]),
                lr=float(config["learning-rate"]),
                batch_size=int(config["batch-size"]),
                seed=seed,
                server_round=server_round,
                party=party,
            )
        accuracies.append(task.evaluate(model, public_test(dataset, seed))[1])
    return tuple(accuracies)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Flower's own log of this side run out of the way."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def main(arguments: list[str] | None = None) -> None:
    """Prints both for one run file, or writes plain event logs."""
    parser = argparse.ArgumentParser(prog="python -m examples.hospitals.compare", allow_abbrev=False)
    parser.add_argument("config", type=Path, metavar="RUN_FILE")
    parser.add_argument("--events", type=Path, metavar="FOLDER", help="write plain-SEED.jsonl here instead")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how many seeds, from the run file's on (default: 1)")
    given = parser.parse_args(arguments)
    config = tomllib.loads(given.config.read_text())
    if given.events is not None:
        for seed in range(config["seed"], config["seed"] + given.seeds):
            log = given.events / f"plain-{seed}.jsonl"
            log.unlink(missing_ok=True)
            plain_log({**config, "seed": seed}, log)
            print(log)
        return
    splits = partitions(config["dataset"], config["num-parties"], config["dirichlet-alpha"], config["seed"])
    print("plain, accuracy by round:", *(f"{accuracy:.3f}" for accuracy in plain(config).accuracies))
    accuracies = alone(config)
    for party, (own, accuracy) in enumerate(zip(splits, accuracies, strict=True)):
        print(f"hospital {party} alone, {len(own.train.y)} samples: {accuracy:.3f}")
    print(f"mean of the hospitals alone: {sum(accuracies) / len(accuracies):.3f}")


if __name__ == "__main__":
    main()
