"""timed: what every variant shares: the model, what training does to it, and the notes from which a round's time is reckoned."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

ClientAppCallable = Callable[[Message, Context], Message]

NAME, EXAMPLES, MAX_WEIGHT = "weight", 100, 1000


def make_model(parameters: int) -> np.ndarray:
    """The first model."""
    return np.random.default_rng(7).normal(0, 0.3, parameters).astype(np.float32)


def trained(model: np.ndarray) -> np.ndarray:
    """What every party makes of a model: the mean is the same, so every variant's result can be checked."""
    return (model * np.float32(0.75)).astype(np.float32)


def train(message: Message, context: Context) -> Message:
    """The train function of the Message API."""
    model = message.content["arrays"][NAME].numpy()
    metrics = MetricRecord({"num-examples": EXAMPLES, "train_loss": 1.0})
    return Message(RecordDict({"arrays": ArrayRecord({NAME: Array(trained(model))}), "metrics": metrics}), reply_to=message)


def evaluate(message: Message, context: Context) -> Message:
    """The evaluate function of the Message API."""
    return Message(RecordDict({"metrics": MetricRecord({"num-examples": EXAMPLES, "eval_loss": 1.0})}), reply_to=message)


def start_strategy(strategy: object, grid: object, context: Context) -> None:
    """Runs a strategy of the Message API, with a note after every round and the last model beside the notes."""
    config = context.run_config
    marks = Path(str(config["marks"]))

    def mark(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        note(marks, round=server_round)
        return MetricRecord()

    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord({NAME: Array(make_model(int(config["parameters"])))}),
        num_rounds=int(config["num-server-rounds"]),
        train_config=ConfigRecord({"lr": 0.1}),
        evaluate_fn=mark,
    )
    np.save(marks.with_suffix(".npy"), result.arrays[NAME].numpy())


def stamp_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Notes on the node's own disk when this process began, when the message came to the mods, and when the reply left them."""
    entered = time.time()
    try:
        return call_next(message, context)
    finally:
        stamps = Path(str(context.node_config["stamps"]))
        note(stamps, message=message.metadata.message_id, began=_process_began(), entered=entered, left=time.time())


def note(file: Path, **values: object) -> None:
    """One line of JSON with the time, written in one call."""
    with file.open("a") as out:
        out.write(json.dumps({"time": time.time(), **values}) + "\n")


def _process_began() -> float:
    """When this process was started, in seconds since the epoch, to a hundredth."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up_s + ticks / os.sysconf("SC_CLK_TCK")
