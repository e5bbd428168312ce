"""One picture of a run, put together event by event: for a report afterwards, and for a display while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Self

from stfed.report.eventlog import Event


class State(Enum):
    """How far a run is."""

    WAITING = "waiting"  # nothing has happened yet
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sum:
    """One secure sum, as its event `round` tells it. What it leaves out is in `event`."""

    event: Event

    @property
    def server_round(self) -> int | None:
        """Flower's round."""
        number: int | None = self.event["server_round"]
        return number

    @property
    def phase(self) -> str:
        """train or evaluate."""
        return str(self.event["phase"])

    @property
    def asked(self) -> int:
        """Parties that were asked."""
        return len(self.event["asked"])

    @property
    def summed(self) -> int:
        """Parties that are in the sum."""
        return len(self.event["summed"])

    @property
    def failure(self) -> str | None:
        """Why there is no sum."""
        text: str | None = self.event["failure"]
        return text

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time of each step."""
        steps: Mapping[str, float] = self.event["seconds"]
        return steps

    @property
    def bytes_up(self) -> int:
        """From all parties."""
        return sum(self.event["bytes_up"].values())

    @property
    def bytes_down(self) -> int:
        """To all parties."""
        return sum(self.event["bytes_down"].values())

    @property
    def metrics(self) -> Mapping[str, float]:
        """Those that are numbers."""
        return numbers(self.event["metrics"])


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a sum that is under way.

    Attributes:
        event: the newest about it.
        began_s: time of the first one.
    """

    event: Event
    began_s: float

    @property
    def over(self) -> bool:
        """Whether the next one is due."""
        return self.event["seconds"] is not None


@dataclass(slots=True)
class Run:
    """What is known so far.

    Attributes:
        start: the event; None before it.
        sums: every secure sum, failed ones too.
        steps: of the sums that are under way, by name and group; empty between sums.
        evaluations: the coordinator's own, by Flower's round.
        models: the events of sealed models.
        releases: the events of noised sums.
        epochs, disputes: theirs.
        budget: the event that ended the run early; None if none did.
        end: the event; None before it.
        last_s: time of the last event.
    """

    start: Event | None = None
    sums: list[Sum] = field(default_factory=list)
    steps: dict[tuple[str, int | None], Step] = field(default_factory=dict)
    evaluations: dict[int, Mapping[str, float]] = field(default_factory=dict)
    models: list[Event] = field(default_factory=list)
    releases: list[Event] = field(default_factory=list)
    epochs: list[Event] = field(default_factory=list)
    disputes: list[Event] = field(default_factory=list)
    budget: Event | None = None
    end: Event | None = None
    last_s: float = 0.0
    _nodes: dict[str, list[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """A run from all of its events."""
        run = cls()
        for event in events:
            run.take(event)
        return run

    def take(self, event: Event) -> None:
        """One event more. Events of other kinds than the schema knows are left out.

        A log to which several runs were appended is the last of them: all is forgotten where another one starts.
        """
        if event["event"] == "start":
            fresh = type(self)()
            for one in fields(self):
                setattr(self, one.name, getattr(fresh, one.name))
        self.last_s = event["time"]
        match event["event"]:
            case "start":
                self.start = event
            case "step":
                key = event["step"], event["group"]
                self.steps[key] = Step(event, self.steps[key].began_s if key in self.steps else event["time"])
            case "round":
                self.sums.append(Sum(event))
                self.steps = {}
                for at, part in enumerate(("asked", "summed")):
                    for node in event[part]:
                        self._nodes.setdefault(node, [0, 0])[at] += 1
            case "evaluation":
                self.evaluations[event["server_round"]] = numbers(event["metrics"])
            case "model":
                self.models.append(event)
            case "release":
                self.releases.append(event)
            case "epoch":
                self.epochs.append(event)
            case "dispute":
                self.disputes.append(event)
            case "budget":
                self.budget = event
            case "end":
                self.end, self.steps = event, {}

    @property
    def state(self) -> State:
        """How far it is."""
        if self.end is not None:
            return State.FAILED if self.end["failure"] else State.DONE
        return State.WAITING if self.start is None else State.RUNNING

    @property
    def rounds(self) -> int:
        """Flower's rounds that have a sum of training."""
        return len({one.server_round for one in self.of_phase("train") if one.failure is None})

    @property
    def epsilon(self) -> tuple[float, float] | None:
        """What all noised sums gave away together, and at which delta; None without differential privacy."""
        return (self.releases[-1]["epsilon"], self.releases[-1]["delta"]) if self.releases else None

    def of_phase(self, phase: str) -> Iterator[Sum]:
        """The sums of training, or of evaluation."""
        return (one for one in self.sums if one.phase == phase)

    def series(self) -> dict[str, dict[int, float]]:
        """Every metric over Flower's rounds: "train loss", "evaluate accuracy", and "global accuracy" of the coordinator's own.

        Where a round has several sums (groups), the mean of their means.
        """
        found: dict[str, dict[int, list[float]]] = {}
        for one in self.sums:
            if one.server_round is not None:
                for name, value in one.metrics.items():
                    found.setdefault(f"{one.phase} {name}", {}).setdefault(one.server_round, []).append(value)
        for number, metrics in self.evaluations.items():
            for name, value in metrics.items():
                found.setdefault(f"global {name}", {})[number] = [value]
        return {name: {number: sum(values) / len(values) for number, values in by.items()} for name, by in found.items()}

    def _repr_html_(self) -> str:
        """For notebooks: the summary and the curves."""
        from stfed.report import story
        from stfed.report.blocks import Report, Section
        from stfed.report.cost import cost
        from stfed.report.html import to_inline_html

        return to_inline_html(Report("", story.summary(self), [story.result(self), Section("Cost", list(cost(self)))]))

    def nodes(self) -> dict[str, tuple[int, int]]:
        """Every node: in how many sums it was asked for, and in how many it is."""
        return {node: (asked, summed) for node, (asked, summed) in self._nodes.items() if asked}


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that can be drawn."""
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float) and not isinstance(value, bool)}
