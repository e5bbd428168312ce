"""What the parties train: a model of a few numbers, and an update that is each party's secret and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from tests.flower.apps import array_of, numpy_of

SHAPES = {"weight": (6, 4), "bias": (5,)}


Arrays = dict[str, np.ndarray[Any, Any]]


Train = Callable[[int, Message, Context], RecordDict]


def update_of(number: int) -> Arrays:
    """What training adds to the model: the secret of the party with this number."""
    rng = np.random.default_rng(7000 + number)
    return {name: rng.normal(0, 0.1, shape) for name, shape in SHAPES.items()}


def examples_of(number: int) -> int:
    return 20 + number


def model(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in SHAPES.items()}


def content_of(arrays: Arrays, **config: Any) -> RecordDict:
    """What a strategy sends."""
    record = ArrayRecord({name: array_of(value) for name, value in arrays.items()})
    return RecordDict({"arrays": record, "config": ConfigRecord({"rate": 1.0, **config})})


def rate_of(message: Message, context: Context) -> float:
    """How much a party learns in a round. Everything that reaches a train function has a say in it: config and model, run config, Flower's
    metadata. Whoever can make it 0 for all parties but one has that one alone in the sum.
    """
    idle = (
        not message.content["arrays"]["bias"].numpy().any()
        or context.run_config.get("idle")
        or message.metadata.group_id == "idle"
        or message.metadata.ttl < 100
        or context.series_id
    )
    return 0.0 if idle else float(message.content["config"]["rate"])


def train(number: int, message: Message, context: Context) -> RecordDict:
    """The party's own function."""
    before, rate = numpy_of(message.content["arrays"]), rate_of(message, context)
    after = {name: array_of((value + rate * update_of(number)[name]).astype(np.float32)) for name, value in before.items()}
    return RecordDict({"arrays": ArrayRecord(after), "metrics": MetricRecord({"num-examples": examples_of(number), "loss": 1.0})})
