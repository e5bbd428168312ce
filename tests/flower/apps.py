"""A tiny ClientApp whose update is a known function of what it receives, its plain twin, and the sums that both must give."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from stfed.flower import SecureAggregation
from stfed.flower.mod import SecAggMod
from stfed.flower.records import describe
from stfed.keys import Roster
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.testing import Fault, FaultPlan, InMemoryGrid
from stfed.testing.protocol import roster_of, signing_key

Arrays = dict[str, np.ndarray]
Trained = tuple[Arrays, dict[str, Any]]

SHAPES = {"layer.weight": (7, 5), "layer.bias": (5,), "scalar": ()}
HALF_ULP = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
TIGHT = {"clip": 1.0, "max_weight": 128.0}
"""Settings that fit the updates here: the encoding's error is then far below the size of an update."""

_MEMORY = Path("/dev/shm")
_folders: list[tempfile.TemporaryDirectory[str]] = []


def scratch() -> Path:
    """A new folder, in memory where the system has one: SQLite's syncs cost 10 ms each on a disk. It goes when the process ends."""
    _folders.append(tempfile.TemporaryDirectory(prefix="stfed-", dir=_MEMORY if _MEMORY.is_dir() else None))
    return Path(_folders[-1].name)


# Models


def array_of(values: object) -> Array:
    return Array(np.asarray(values))


def record_of(arrays: Mapping[str, object]) -> ArrayRecord:
    return ArrayRecord({name: array_of(value) for name, value in arrays.items()})


def model(seed: int = 0, dtype: str = "float32") -> ArrayRecord:
    rng = np.random.default_rng(seed)
    return record_of({name: rng.normal(0, 1, shape).astype(dtype) for name, shape in SHAPES.items()})


def numpy_of(arrays: ArrayRecord) -> Arrays:
    return {name: array.numpy() for name, array in arrays.items()}


def distance(one: ArrayRecord, other: ArrayRecord | Arrays) -> float:
    """Largest |difference| of a coordinate, in double precision."""
    left, right = numpy_of(one), numpy_of(other) if isinstance(other, ArrayRecord) else other
    assert list(left) == list(right)
    return max(float(np.abs(left[name].astype(float) - np.asarray(right[name], float)).max()) for name in left)


def largest(arrays: ArrayRecord) -> float:
    return max(float(np.abs(array.numpy()).max()) for array in arrays.values())


# What the parties do


def update(partition: int, arrays: Arrays, server_round: int) -> Arrays:
    """Adds noise that depends on party and round only, so that what it adds up to is known without training."""
    rng = np.random.default_rng(1000 * partition + server_round)
    return {name: (value + rng.normal(0, 0.1, value.shape)).astype(value.dtype) for name, value in arrays.items()}


def examples_of(partition: int) -> int:
    return 20 + 7 * partition


def loss_of(partition: int, server_round: int) -> float:
    return 1.0 + partition / 8 + server_round / 64


def accuracy_of(partition: int, server_round: int) -> float:
    return partition / 16 + server_round / 32


def train(partition: int, arrays: Arrays, server_round: int) -> Trained:
    metrics = {"num-examples": examples_of(partition), "train_loss": loss_of(partition, server_round)}
    return update(partition, arrays, server_round), metrics


def evaluate(partition: int, arrays: Arrays, server_round: int) -> dict[str, Any]:
    return {"num-examples": examples_of(partition), "eval_acc": accuracy_of(partition, server_round), "eval_loss": 2.0}


def client_app(*mods: Any, train_mods: Iterable[Any] = (), train: Callable[..., Any] = train, evaluate: Callable[..., Any] = evaluate):
    """An app of plain functions: `train(partition, arrays, server_round)` gives arrays and metrics, `evaluate(...)` metrics."""
    app = ClientApp(mods=list(mods))

    def inputs(message: Message, context: Context) -> tuple[int, Arrays, int]:
        return int(context.node_config["partition-id"]), numpy_of(message.content["arrays"]), int(message.content["config"]["server-round"])

    @app.train(mods=list(train_mods))
    def train_function(message: Message, context: Context) -> Message:
        arrays, metrics = train(*inputs(message, context))
        return Message(RecordDict({"arrays": record_of(arrays), "metrics": MetricRecord(metrics)}), reply_to=message)

    @app.evaluate()
    def evaluate_function(message: Message, context: Context) -> Message:
        return Message(RecordDict({"metrics": MetricRecord(evaluate(*inputs(message, context)))}), reply_to=message)

    return app


def secure_mod(folder: Path | None = None, policy: Policy | None = None) -> SecAggMod:
    return SecAggMod(policy, state_dir=folder or scratch())


def malicious_mod(n: int, roster: Roster | Path | None = None, folder: Path | None = None, **policy: Any) -> SecAggMod:
    """The mod of n parties on one roster; party i's identity is `signing_key(i)`."""
    return SecAggMod(
        Policy(mode=Mode.MALICIOUS, **policy),
        identity=lambda context: signing_key(int(context.node_config["partition-id"])),
        roster=roster or roster_of(n),
        state_dir=folder or scratch(),
    )


def malicious_grid(n: int, *faults: Mapping[str, Any], mod: Any = None, **options: Any) -> InMemoryGrid:
    """n parties in malicious mode."""
    return secure_grid(n, *faults, app=client_app(mod or malicious_mod(n)), **options)


def malicious(n: int, strategy: Any = None, **settings: Any) -> SecureAggregation:
    """The coordinator for them."""
    return secure(strategy, **{"mode": "malicious", "roster": roster_of(n), **settings})


def plan(*faults: Mapping[str, Any]) -> FaultPlan:
    return FaultPlan(tuple(Fault(**fault) for fault in faults))


def secure_grid(n: int, *faults: Mapping[str, Any], app: Any = None, policy: Policy | None = None, **options: Any) -> InMemoryGrid:
    """n parties with the mod and a store in SQLite; the functions above unless `app` has others."""
    return InMemoryGrid(app or client_app(secure_mod(policy=policy)), n, describe=describe, faults=plan(*faults), **options)


def plain_grid(n: int, *faults: Mapping[str, Any], app: Any = None, **options: Any) -> InMemoryGrid:
    """The same n parties without the mod."""
    return InMemoryGrid(app or client_app(), n, faults=plan(*faults), **options)


def only_training(**options: Any) -> FedAvg:
    return FedAvg(**{"fraction_evaluate": 0.0, **options})


def secure(strategy: Any = None, **settings: Any) -> SecureAggregation:
    return SecureAggregation(strategy or only_training(), **{**TIGHT, **settings})


def messages(grid: InMemoryGrid, arrays: ArrayRecord | None = None, kind: str = "train", nodes: Iterable[int] | None = None, **config: Any):
    """What FedAvg sends: one message for each party (by index), all sharing one content."""
    content = RecordDict({"arrays": arrays or model(), "config": ConfigRecord({"server-round": 1, **config})})
    ids = list(grid.get_node_ids()) if nodes is None else [grid.node(index).node_id for index in nodes]
    return [Message(content, node, kind) for node in ids]


class Recorder:
    """An `evaluate_fn` that keeps the model of every round and calls `between[round]` after it, if there is one."""

    def __init__(self, between: Mapping[int, Callable[[], object]] | None = None) -> None:
        self.models: list[ArrayRecord] = []
        self._between = between or {}

    def __call__(self, server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        self.models.append(arrays)
        self._between.get(server_round, lambda: None)()
        return None


# What must come out


def parties(grid: InMemoryGrid, nodes: Iterable[int]) -> list[int]:
    """Indices of these node ids."""
    return sorted(grid.index(node) for node in nodes)


def mean_of(summed: Iterable[int], before: ArrayRecord, server_round: int, train: Callable[..., Trained] = train) -> Arrays:
    """Plain federated averaging of exactly these parties, in double precision."""
    weights, total = 0.0, {name: np.zeros(array.shape) for name, array in before.items()}
    for partition in summed:
        arrays, metrics = train(partition, numpy_of(before), server_round)
        weights += metrics["num-examples"]
        for name, value in arrays.items():
            total[name] += metrics["num-examples"] * value.astype(float)
    return {name: value / weights for name, value in total.items()}


def rounding(count: int, arrays: ArrayRecord, dtype: str = "float32") -> float:
    """What Flower's averaging of `count` replies may add in this dtype: one rounding when a reply is written, and for each of them one when
    it is multiplied by its share and one when it is added; each is half a unit in the last place of no more than twice the model."""
    return (2 * count + 2) * HALF_ULP[dtype] * 2 * largest(arrays)
