"""hospitals: what the federation is worth, computed in process, without Flower's runtime and without `stfed`'s protocol.

`plain_fedavg` is Flower's own FedAvg over the same train and evaluate functions, with the same hospitals dropping out in the same rounds:
what the secure run must equal. `alone` is what each hospital gets out of its own data for the same number of steps. All accuracies are
on the public test set.

    python -m examples.hospitals.compare configs/quickstart.toml
"""

from __future__ import annotations

import logging
import random
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from examples.hospitals import client_app, task
from examples.hospitals.data import partitions, public_test
from stfed.testing import InMemoryGrid

Config = Mapping[str, bool | float | int | str]
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plain:
    """A plain run: `states[r]` and `accuracies[r]` are those after round r, 0 the initial model's."""

    states: tuple[State, ...]
    accuracies: tuple[float, ...]


def plain_fedavg(config: Config) -> Plain:
    """Flower's FedAvg without secure aggregation, with the script's drop-outs."""
    dataset, seed = str(config["dataset"]), int(config["seed"])
    app = ClientApp()
    app.train()(client_app.train)
    app.evaluate()(client_app.evaluate)
    num_parties = int(config["num-parties"])
    grid = InMemoryGrid(app, num_parties, run_config=dict(config), keep_payloads=False)
    model, states, accuracies = task.make_model(dataset, seed), [], []

    def keep(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        states.append(dict(arrays.to_torch_state_dict()))
        model.load_state_dict(states[-1])
        accuracies.append(task.evaluate(model, public_test(dataset, seed))[1])
        return MetricRecord({"accuracy": accuracies[-1]})

    random.seed(seed)
    with _quiet():
        FedAvg(fraction_evaluate=0.0, min_available_nodes=num_parties).start(
            grid,
            ArrayRecord(model.state_dict()),
            num_rounds=int(config["num-server-rounds"]),
            train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
            evaluate_fn=keep,
        )
    return Plain(tuple(states), tuple(accuracies))


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


def main(path: str) -> None:
    """Prints both for one run file."""
    config = tomllib.loads(Path(path).read_text())
    splits = partitions(config["dataset"], config["num-parties"], config["dirichlet-alpha"], config["seed"])
    print("plain FedAvg, accuracy by round:", *(f"{accuracy:.3f}" for accuracy in plain_fedavg(config).accuracies))
    accuracies = alone(config)
    for party, (own, accuracy) in enumerate(zip(splits, accuracies, strict=True)):
        print(f"hospital {party} alone, {len(own.train.y)} samples: {accuracy:.3f}")
    print(f"mean of the hospitals alone: {sum(accuracies) / len(accuracies):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
