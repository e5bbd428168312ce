"""A tiny ClientApp whose update is a known function of what it receives, and its plain FedAvg twin."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stfed.flower.mod import SecAggMod
from stfed.flower.records import describe
from stfed.secagg.policy import Policy
from stfed.testing import InMemoryGrid

SHAPES = {"layer.weight": (7, 5), "layer.bias": (5,), "scalar": ()}


def model(seed: int = 0) -> ArrayRecord:
    rng = np.random.default_rng(seed)
    return ArrayRecord({name: array_of(rng.normal(0, 1, shape).astype(np.float32)) for name, shape in SHAPES.items()})


def array_of(values):
    from flwr.app import Array

    return Array(np.asarray(values))


def update(partition: int, arrays: dict[str, np.ndarray], server_round: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1000 * partition + server_round)
    return {name: (value + rng.normal(0, 0.1, value.shape)).astype(np.float32) for name, value in arrays.items()}


def examples_of(partition: int) -> int:
    return 20 + 7 * partition


def loss_of(partition: int, server_round: int) -> float:
    return 1.0 + partition / 8 + server_round / 64


def client_app(*mods) -> ClientApp:
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        partition = context.node_config["partition-id"]
        server_round = message.content["config"]["server-round"]
        arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
        trained = update(partition, arrays, server_round)
        metrics = {"num-examples": examples_of(partition), "train_loss": loss_of(partition, server_round)}
        content = {
            "arrays": ArrayRecord({name: array_of(value) for name, value in trained.items()}),
            "metrics": MetricRecord(metrics),
        }
        return Message(RecordDict(content), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        partition = context.node_config["partition-id"]
        metrics = {"num-examples": examples_of(partition), "eval_acc": partition / 16, "eval_loss": 2.0}
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    return app


def secure_app(tmp_path, policy: Policy | None = None, *mods) -> ClientApp:
    return client_app(SecAggMod(policy, state_dir=tmp_path / "state"), *mods)


def secure_grid(tmp_path, n: int, policy: Policy | None = None, mods=(), **kwargs) -> InMemoryGrid:
    return InMemoryGrid(secure_app(tmp_path, policy, *mods), n, describe=describe, **kwargs)


def plain_grid(n: int, mods=(), **kwargs) -> InMemoryGrid:
    return InMemoryGrid(client_app(*mods), n, **kwargs)


def numpy_of(arrays: ArrayRecord) -> dict[str, np.ndarray]:
    return {name: array.numpy() for name, array in arrays.items()}


def config(**values) -> ConfigRecord:
    return ConfigRecord(values)
