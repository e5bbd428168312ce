"""The app that `benchmarks.simulation` runs on Flower's simulation runtime: the hospitals' training with and without secure rounds, and
messages with nothing in them, all in one run, by the same processes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from examples.hospitals import client_app, task
from stfed.flower import SecureAggregation, secagg_mod
from stfed.flower.courier import Courier
from stfed.flower.events import EventLog

Now = tuple[float, float, int]
"""Seconds on the clock, seconds of processor time, messages sent."""

PLAIN, EMPTY = "train.plain", "query.empty"

client, server = ClientApp(), ServerApp()
client.train(mods=[secagg_mod])(client_app.train)
client.train("plain")(client_app.train)


@client.query("empty")
def empty(message: Message, context: Context) -> Message:
    """Answers with nothing."""
    return Message(RecordDict(), reply_to=message)


class PlainFedAvg(FedAvg):
    """FedAvg, whose messages go past the secure mod."""

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message in messages:
            message.metadata.message_type = PLAIN
        return messages


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Empty trips, plain rounds, secure rounds; what each took goes to the event log."""
    config = context.run_config
    log = EventLog(Path(str(config["run-dir"])) / "events.jsonl")
    log.emit("main")
    parties, rounds = int(config["num-parties"]), int(config["num-server-rounds"])
    while len(nodes := list(grid.get_node_ids())) < parties:
        time.sleep(0.05)
    sent = _counted(grid)

    def empty_trip() -> dict[str, float]:
        before, replies = _now(sent), list[bool]()
        contents = {node: RecordDict() for node in nodes}
        Courier(grid).exchange(contents, EMPTY, "empty", timeout_s=600, on_reply=lambda node, reply: replies.append(reply.has_error()))
        assert not any(replies), "an empty message was answered with an error"
        assert len(replies) == parties, "an empty message was not answered"
        return _between(before, _now(sent))

    # The first message to a process of Ray's makes it import everything, and the first training deals the data out.
    log.emit("first", **empty_trip())
    for _ in range(rounds):
        log.emit("empty", **empty_trip())
    settings = {"fraction_evaluate": 0.0, "min_available_nodes": parties}
    log.emit("plain", rounds=_rounds(PlainFedAvg(**settings), grid, config, sent))
    for _ in range(rounds):
        log.emit("empty", **empty_trip())
    secure = SecureAggregation(FedAvg(**settings), clip=float(config["clip"]), max_weight=float(config["max-weight"]))
    log.emit("secure", rounds=_rounds(secure, grid, config, sent), reports=[report.as_dict() for report in secure.reports])
    log.emit("end", failure=None)


def _rounds(strategy: Strategy, grid: Grid, config: dict[str, bool | float | int | str], sent: list[int]) -> list[dict[str, float]]:
    """What each round took."""
    dataset, seed = str(config["dataset"]), int(config["seed"])
    random.seed(seed)
    marks: list[Now] = []

    def mark(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        marks.append(_now(sent))
        return MetricRecord({"round": server_round})

    strategy.start(
        grid,
        ArrayRecord(task.make_model(dataset, seed).state_dict()),
        num_rounds=int(config["num-server-rounds"]),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        evaluate_fn=mark,
    )
    return [_between(before, after) for before, after in pairwise(marks)]


def _counted(grid: Grid) -> list[int]:
    """The sizes of all batches of messages that are pushed through the grid from now on."""
    sent: list[int] = []
    push = grid.push_messages

    def push_messages(messages: Iterable[Message]) -> Iterable[str]:
        batch = list(messages)
        sent.append(len(batch))
        return push(batch)

    grid.push_messages = push_messages  # type: ignore[method-assign]
    return sent


def _now(sent: list[int]) -> Now:
    return time.perf_counter(), _processor_seconds(), sum(sent)


def _between(before: Now, after: Now) -> dict[str, float]:
    return {name: after[at] - before[at] for at, name in enumerate(("seconds", "core_seconds", "messages"))}


def _processor_seconds() -> float:
    """Of this process and of all that it started: Flower's runtime, the ServerApp and Ray, which plays the parties.

    Other work on the machine makes a round take longer, and hardly more processor time. Without /proc, of this process only.
    """
    processes: dict[int, tuple[int, float]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Counted from the state: parent, then user and system time of the process and of its children that have ended.
        processes[int(file.parent.name)] = int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    if os.getpid() not in processes:
        return time.process_time()
    total, family = 0.0, {os.getpid()}
    while family:
        total += sum(processes[process][1] for process in family)
        family = {process for process, (parent, _) in processes.items() if parent in family}
    return total
