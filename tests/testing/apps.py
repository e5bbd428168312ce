"""Tiny ClientApps and the few lines that every test of the in-memory grid starts with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from stfed.testing import Fault, FaultPlan, InMemoryGrid


def adding_app() -> ClientApp:
    """A party i of n adds i + 1 to every coordinate, weighs 10 * (i + 1), and counts its messages in its state."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        step = int(context.node_config["partition-id"]) + 1
        state = context.state.setdefault("count", ConfigRecord({"messages": 0}))
        state["messages"] += 1
        arrays = ArrayRecord([array + np.float32(step) for array in message.content["arrays"].to_numpy_ndarrays()])
        metrics = MetricRecord({"num-examples": 10 * step, "train_loss": float(step), "messages": state["messages"]})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        first = float(message.content["arrays"].to_numpy_ndarrays()[0].ravel()[0])
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1, "eval_loss": first})}), reply_to=message)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        """Answers with the config it got and how many queries came before."""
        seen = context.state.setdefault("queries", ConfigRecord({"seen": 0}))
        answer = ConfigRecord({"seen": seen["seen"], "run": str(context.run_id), **message.content["config"]})
        seen["seen"] += 1
        return Message(RecordDict({"config": answer}), reply_to=message)

    return app


def grid_with(*faults: Fault, num_nodes: int = 3, threads: int = 1) -> InMemoryGrid:
    """A grid over `adding_app` with these faults."""
    return InMemoryGrid(adding_app(), num_nodes, faults=FaultPlan(faults), threads=threads)


def queries(grid: InMemoryGrid, nodes: Iterable[int] | None = None, **config: object) -> list[Message]:
    """One query message for each party, by index."""
    ids = [grid.node(index).node_id for index in nodes] if nodes is not None else grid.get_node_ids()
    return [Message(RecordDict({"config": ConfigRecord(dict(config))}), node_id, "query") for node_id in ids]


def training(grid: InMemoryGrid, value: float = 0.0) -> list[Message]:
    """One train message for each party, all sharing one content as Flower's strategies do."""
    content = RecordDict({"arrays": ArrayRecord([np.full(4, value, np.float32)]), "config": ConfigRecord({"server-round": 1})})
    return [Message(content, node_id, "train") for node_id in grid.get_node_ids()]


def senders(grid: InMemoryGrid, replies: Iterable[Message]) -> list[int]:
    """The indices of the parties that these replies come from, in order."""
    return [grid.index(reply.metadata.src_node_id) for reply in replies]
