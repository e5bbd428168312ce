"""`PlainAggregation`: the same training without any protection, with an event log that a report can be held against.

    PlainAggregation(FedAvg(), events="plain/events.jsonl").start(grid, initial_arrays, num_rounds=10)

Flower runs as it would alone: the coordinator sees every party's update. Its parties are ClientApps without `secagg_mod`, which answers
no plain message. For comparing on public or made-up data; the log says `plain` where a secure one says its mode, and reports of it say
in red that nothing was protected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from operator import mul
from pathlib import Path
from typing import TypeAlias

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from flwr.supercore.run import Run

from stfed.errors import LocalError
from stfed.flower import compatibility
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.strategy import SecureAggregation
from stfed.flower.views import views

__all__ = ["PlainAggregation"]

PLAIN, STEP = "plain", "exchange"
EvaluateFn: TypeAlias = Callable[[int, ArrayRecord], MetricRecord | None]


class PlainAggregation:
    """Runs a strategy as it is, and keeps the event log of it.

    Args:
        strategy: any of Flower's.
        events: file of the event log, or an `EventLog`.

    Raises:
        LocalError: the strategy is a `SecureAggregation`, whose log is its own.
    """

    def __init__(self, strategy: Strategy, *, events: str | Path | EventLog) -> None:
        if any(isinstance(layer, SecureAggregation) for layer in compatibility.layers(strategy)):
            raise LocalError("a plain run takes the strategy without SecureAggregation around it", hint="PlainAggregation(FedAvg(), ...)")
        self.strategy: Strategy = strategy
        self._events = events if isinstance(events, EventLog) else EventLog(events)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
    ) -> Result:
        """The strategy's own `start`. Arguments and result are Flower's."""
        events, started = self._events, time.monotonic()

        def evaluated(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            metrics = None if evaluate_fn is None else evaluate_fn(server_round, arrays)
            if metrics is not None:
                events.emit("evaluation", server_round=server_round, metrics=dict(metrics))
            return metrics

        watching = _Watching(grid, events, compatibility.weight_key(self.strategy))
        name, settings = type(self.strategy).__name__, {"mode": PLAIN}
        events.emit("start", strategy=name, num_rounds=num_rounds, run=str(grid.run.run_id), settings=settings)
        failure: str | None = "interrupted"
        try:
            result = self.strategy.start(watching, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluated)
            failure = None
            return result
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            events.emit("end", seconds=round(time.monotonic() - started, 3), failure=failure)


class _Watching(Grid):
    """A grid that writes down what goes through it, and changes nothing."""

    def __init__(self, grid: Grid, events: EventLog, weight_key: str) -> None:
        self._grid, self._events, self._weight_key = grid, events, weight_key
        self._round = 0

    def set_run(self, run: Run) -> None:
        """See Flower, also below."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        messages, self._round = list(messages), self._round + 1
        if not messages:
            return []
        phase = "train" if messages[0].metadata.message_type.startswith("train") else "evaluate"
        report = RoundReport(phase, tuple(message.metadata.dst_node_id for message in messages), round=self._round, mode=PLAIN, trips=1)
        for config in messages[0].content.config_records.values():
            number = config.get("server-round")
            report.server_round = number if isinstance(number, int) else report.server_round
        report.n, report.parameters = len(messages), sum(_count(record) for record in messages[0].content.array_records.values())
        with report.timed(STEP, time.monotonic):
            replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        self._note(report, messages, replies)
        self._events.emit("round", **report.as_dict())
        return replies

    def _note(self, report: RoundReport, messages: Sequence[Message], replies: Sequence[Message]) -> None:
        answered = {reply.metadata.src_node_id: reply for reply in replies}
        good = {node: reply for node, reply in answered.items() if not reply.has_error()}
        report.summed = tuple(node for node in report.asked if node in good)
        for node in report.asked:
            if node not in good:
                why = answered[node].error.reason if node in answered else ""
                report.dropped[node] = {"step": STEP, "reason": "error reply" if node in answered else "no reply", "detail": why or ""}
        report.bytes_down[STEP] = sum(_bytes(message.content) for message in messages)
        report.bytes_up[STEP] = sum(_bytes(reply.content) for reply in good.values())
        report.metrics = _means([reply.content for reply in good.values()], self._weight_key)
        if not good:
            report.failure = "no party answered"


def _count(record: ArrayRecord) -> int:
    return sum(values.size if hasattr(values, "size") and isinstance(values.size, int) else 0 for values in views(record).values())


def _bytes(content: RecordDict) -> int:
    """Of the tensors, and 8 for a metric: what a secure sum's messages have, too, beside the protocol's own."""
    tensors = sum(len(array.data) for record in content.array_records.values() for array in record.values())
    return tensors + sum(8 * len(record) for record in content.metric_records.values())


def _means(contents: Sequence[RecordDict], weight_key: str) -> dict[str, float]:
    """As Flower's own averaging of metrics: by weight, those that all parties gave as a number."""
    records = [dict(record) for content in contents for record in content.metric_records.values()]
    shared = set(records[0]).intersection(*records) if records else set[str]()
    numbers = {name: values for name in sorted(shared) if (values := _numbers([record[name] for record in records])) is not None}
    weights = numbers.pop(weight_key, [])
    total = sum(weights)
    return {name: sum(map(mul, weights, values)) / total for name, values in numbers.items() if total}


def _numbers(values: Sequence[object]) -> list[float] | None:
    return [float(value) for value in values if isinstance(value, int | float)] if all(isinstance(v, int | float) for v in values) else None
