"""What an export says of a run: scalars by Flower's round, settings, texts, each with the time of the event that it comes from.

The same log gives the same items in the same order, and a longer log gives the same ones and more after them. So an export can go on
where an earlier one ended. No item names a party: counts, means over parties, and failures under the report's pseudonyms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stfed.report import protection, story
from stfed.report.blocks import Facts, Section, Text, Warn
from stfed.report.eventlog import Event
from stfed.report.run import Run, Sum, numbers
from stfed.report.runfile import Value, config

_NUMBERS = ("n", "k", "t", "graph", "mode", "corrupt", "quorum", "ring_bits", "parameters")
MEANINGS: dict[str, str] = {
    "train": "mean over the parties summed, by weight, as they said after training",
    "evaluate": "mean over the parties summed, by weight, on their own data",
    "global": "of the global model, on the coordinator's data",
    "parties": "parties that the strategy asked, that are in the sum, and that are not",
    "bytes": "of all parties together, without Flower's framing",
    "seconds": "of each step of a secure sum; of the slowest group, where there are groups",
    "encoding": "clip of a coordinate, the share of coordinates that it cut, and the share of parties within a clip that follows them",
    "privacy": "epsilon that all sums so far spent together",
}
"""What the scalars of a family say, by the word before the stroke."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A run began; everything said before is of another one.

    Attributes:
        identity: 32 hexadecimal digits that no other run has.
        run: Flower's run id.
    """

    time_s: float
    identity: str
    run: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What it was set to, once: the strategy's and the protocol's numbers, and the run file's under `config.`."""

    time_s: float
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A point of a curve; `step` is Flower's round."""

    time_s: float
    step: int
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Words:
    """A text, in Markdown."""

    time_s: float
    step: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    time_s: float
    failed: bool


Item: TypeAlias = Begin | Settings | Scalar | Words | End


class Points:
    """Turns events into items, one event after the other.

    Args:
        log: the event log; the run file is looked for beside it.
    """

    def __init__(self, log: Path) -> None:
        self._config = config(log)
        self._run, self._open, self._told, self._said = Run(), list[Sum](), False, ""

    def take(self, event: Event) -> Iterator[Item]:
        """The items that an event adds, none perhaps."""
        if event["event"] == "start":
            self._open, self._told, self._said = [], False, ""
        elif self._run.start is None:
            return
        if self._open and not _belongs(event, self._open[0]):
            yield from self._close()
        self._run.take(event)
        match event["event"]:
            case "start":
                yield Begin(event["time"], _identity(event), event["run"])
            case "round":
                self._open.append(Sum(event))
                if event["group"] is None:
                    yield from self._close()
            case "evaluation":
                for name, value in numbers(event["metrics"]).items():
                    yield Scalar(event["time"], event["server_round"], f"global/{name}", value)
            case "end":
                yield from self._settings(event["time"])
                yield from self._words(event["time"], self._run.rounds)
                if event["failure"]:
                    yield Words(event["time"], self._run.rounds, "failure", story.anonymous(self._run, event["failure"]))
                yield End(event["time"], bool(event["failure"]))

    def _close(self) -> Iterator[Item]:
        """What the sums of one phase of a round say together: one, or one for each group."""
        sums, self._open = self._open, []
        first, time_s = sums[0], sums[-1].event["time"]
        step = first.event["round"] if first.server_round is None else first.server_round
        for name, value in _scalars(sums).items():
            yield Scalar(time_s, step, name, value)
        for one in sums:
            if one.failure:
                yield Words(one.event["time"], step, "failure", story.anonymous(self._run, f"{one.phase}: {one.failure}"))
        if not self._told and any(one.failure is None for one in sums):
            yield from self._settings(time_s)
            yield from self._words(time_s, step)

    def _settings(self, time_s: float) -> Iterator[Settings]:
        start = self._run.start
        if self._told or start is None:
            return
        self._told = True
        done = next((one.event for one in self._run.sums if one.failure is None), {})
        named = {name: done[name] for name in _NUMBERS if name in done and done[name] not in (None, "")}
        first = {"strategy": start["strategy"], "num_rounds": start["num_rounds"], **_flat("", start["settings"]), **named}
        yield Settings(time_s, {**first, **{f"config.{key}": value for key, value in self._config.items()}})

    def _words(self, time_s: float, step: int) -> Iterator[Words]:
        """What protects the parties, when it is known and where the end of the run says otherwise: a smaller sum, more spent."""
        text = "\n\n".join(map(_markdown, (protection.protocol(self._run), protection.privacy(self._run))))
        if text != self._said:
            self._said = text
            yield Words(time_s, step, "protection", text)


def _belongs(event: Event, first: Sum) -> bool:
    """Whether more groups of a sum may follow: what is said between them ends it as little as another group does."""
    if event["event"] in ("step", "round"):
        return bool(event["group"] is not None and (event["phase"], event["server_round"]) == (first.phase, first.server_round))
    return event["event"] in ("release", "dispute", "epoch")


def _scalars(sums: Sequence[Sum]) -> dict[str, float]:
    phase, done = sums[0].phase, [one for one in sums if one.failure is None]
    asked, summed = sum(one.asked for one in sums), sum(one.summed for one in done)
    found: dict[str, float] = {
        f"parties/{phase}_asked": asked,
        f"parties/{phase}_summed": summed,
        f"parties/{phase}_dropped": asked - summed,
        f"bytes/{phase}_up": sum(one.bytes_up for one in sums),
        f"bytes/{phase}_down": sum(one.bytes_down for one in sums),
    }
    for step in dict.fromkeys(step for one in sums for step in one.seconds):
        found[f"seconds/{phase}_{step}"] = max(one.seconds.get(step, 0.0) for one in sums)
    for name in dict.fromkeys(name for one in done for name in one.metrics):
        values = [one.metrics[name] for one in done if name in one.metrics]
        found[f"{phase}/{name}"] = sum(values) / len(values)
    coordinates = sum(one.event["parameters"] * one.summed for one in done)
    if phase == "train" and coordinates and done[0].event["mode"] != protection.PLAIN:
        found["encoding/clip"] = done[0].event["clip"]
        found["encoding/clipped_share"] = sum(one.event["clipped"] for one in done) / coordinates
        within = [one.event["within"] for one in done if one.event["within"] is not None]
        if within:
            found["encoding/within_share"] = sum(within) / len(within)
    spent = [one.event["privacy"]["epsilon"] for one in done if one.event["privacy"]]
    return found | ({"privacy/epsilon": max(spent)} if spent else {})


def _identity(start: Event) -> str:
    return hashlib.sha256(json.dumps(start, sort_keys=True).encode()).hexdigest()[:32]


def _flat(prefix: str, values: object) -> dict[str, Value]:
    """Nested tables as `dp.epsilon`; what is not set is left out."""
    if isinstance(values, Mapping):
        return {key: value for name, inner in values.items() for key, value in _flat(f"{prefix}.{name}" if prefix else name, inner).items()}
    if values is None:
        return {}
    return {prefix: values if isinstance(values, bool | int | float | str) else json.dumps(values, default=str)}


def _markdown(section: Section) -> str:
    parts = [f"### {section.title}"]
    for block in section.blocks:
        match block:
            case Text(text):
                parts.append(text)
            case Warn(text):
                parts.append(f"**{text}**")
            case Facts(facts):
                parts.append("\n".join(f"- **{fact.name}**: {fact.value} ({fact.meaning})" for fact in facts))
    return "\n\n".join(parts)
