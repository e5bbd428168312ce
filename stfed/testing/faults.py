"""What goes wrong, when and to whom, written as data.

A `FaultPlan` is a tuple of `Fault`s. A fault names what happens and, as filters, the party, the protocol step, the round, and which of
several times. A filter left out matches everything. Plans come from plain dictionaries (`FaultPlan.parse`), so a test table and a TOML
file say the same thing in the same words:

    FaultPlan.parse([{"action": "drop-reply", "node": 3, "step": "train", "round": 2, "permanent": True}])

Which faults hit a message is decided when the coordinator sends it. If several do, all of them happen.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

from stfed.errors import LocalError

Action = Literal["drop-request", "drop-reply", "error", "delay", "tamper", "replay", "duplicate"]
Direction = Literal["down", "up"]


@dataclass(frozen=True)
class Fault:
    """One kind of mishap.

    Actions: `drop-request` (the party never sees it), `drop-reply` (the party did its work, nobody hears of it), `error` (the party's app
    crashes before it starts), `delay` (the reply comes `delay_s` later), `tamper` (one byte changes on the way), `duplicate` (the party
    gets the request twice, at the same time if the grid has threads), `replay` (after the request, the party gets the oldest request of
    this step once more). What the party says to a duplicate or a replay is in `InMemoryGrid.surplus`.

    Attributes:
        action: what happens.
        node: the party's index, 0 to n-1; None for every party.
        step: the protocol step, as the grid's `describe` names it (by default the message type); None for every step.
        round: the round, as `describe` counts it; None for every round.
        occurrence: only the k-th message to a party that passes the filters above, counted from 1; None for all of them.
        permanent: the party is gone from then on: it leaves `get_node_ids` and never answers again.
        direction: for `tamper`, which way: "down" to the party, "up" to the coordinator.
        record, key: for `tamper`, only in this record and this key of the message.
        position, xor: for `tamper`, which byte (negative from the end) and what to XOR it with; see `parcel.flip`.
        delay_s: for `delay`, seconds of the grid's clock.
        reason: for `error`, the text of the exception.
    """

    action: Action
    node: int | None = None
    step: str | None = None
    round: int | None = None
    occurrence: int | None = None
    permanent: bool = False
    direction: Direction = "up"
    record: str | None = None
    key: str | None = None
    position: int = -1
    xor: int = 1
    delay_s: float = 3600.0
    reason: str = "scripted fault"

    def __post_init__(self) -> None:
        for name, (holds, expected) in _RULES.items():
            value = getattr(self, name)
            if not holds(value):
                raise LocalError(f"fault: {name} must be {expected}, not {value!r}")
        for name, owner in _OPTIONS.items():
            if self.action != owner and getattr(self, name) != Fault.__dataclass_fields__[name].default:
                raise LocalError(f"fault: {name} belongs to the action {owner!r}, not to {self.action!r}")

    def matches(self, node: int, step: str, round_: int) -> bool:
        """Whether the filters let this message through; `occurrence` is counted by `FaultMatcher`."""
        return self.node in (None, node) and self.step in (None, step) and self.round in (None, round_)


_OPTIONS = {
    "direction": "tamper",
    "record": "tamper",
    "key": "tamper",
    "position": "tamper",
    "xor": "tamper",
    "delay_s": "delay",
    "reason": "error",
}


def _whole(low: float = -math.inf, high: float = math.inf, *, optional: bool = False) -> Callable[[object], bool]:
    """A predicate: a whole number from `low` to `high`; bool is none in TOML and none here."""
    return lambda value: (optional and value is None) or (isinstance(value, int) and not isinstance(value, bool) and low <= value <= high)


def _text(*, optional: bool = False) -> Callable[[object], bool]:
    return lambda value: (optional and value is None) or isinstance(value, str)


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "action": (lambda value: value in get_args(Action), f"one of {', '.join(get_args(Action))}"),
    "node": (_whole(0, optional=True), "an index, 0 or more"),
    "step": (_text(optional=True), "a text"),
    "round": (_whole(0, optional=True), "a whole number, 0 or more"),
    "occurrence": (_whole(1, optional=True), "a whole number, 1 or more"),
    "permanent": (lambda value: isinstance(value, bool), "true or false"),
    "direction": (lambda value: value in get_args(Direction), "'down' or 'up'"),
    "record": (_text(optional=True), "a text"),
    "key": (_text(optional=True), "a text"),
    "position": (_whole(), "a whole number"),
    "xor": (_whole(1, 255), "1 to 255"),
    "delay_s": (_seconds, "seconds, more than 0"),
    "reason": (_text(), "a text"),
}


@dataclass(frozen=True)
class FaultPlan:
    """All the faults of a run; empty by default."""

    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[Mapping[str, object]]) -> Self:
        """Builds a plan from plain dictionaries, one a fault, with the attributes of `Fault` as keys.

        Raises:
            LocalError: an unknown key, a missing action, or a value out of range; names the entry by its place, from 1.
        """
        known = {field.name for field in dataclasses.fields(Fault)}
        faults = []
        for place, entry in enumerate(entries, start=1):
            if not isinstance(entry, Mapping):
                raise LocalError(f"fault {place}: expected a table of keys and values, got {entry!r}")
            if unknown := sorted(map(str, set(entry) - known)):
                raise LocalError(f"fault {place}: unknown key {unknown[0]!r}", hint=f"known keys: {', '.join(sorted(known))}")
            if "action" not in entry:
                raise LocalError(f"fault {place}: has no action", hint=f"one of {', '.join(get_args(Action))}")
            try:
                faults.append(Fault(**entry))  # type: ignore[arg-type]
            except LocalError as error:
                raise LocalError(f"fault {place}: {error.message.removeprefix('fault: ')}", hint=error.hint) from None
        return cls(tuple(faults))

    def check(self, num_nodes: int) -> None:
        """Refuses a plan that names a party which this federation does not have."""
        for fault in self.faults:
            if fault.node is not None and fault.node >= num_nodes:
                raise LocalError(f"fault: node {fault.node} does not exist, the parties are 0 to {num_nodes - 1}")

    @property
    def replays(self) -> bool:
        """Whether old requests must be kept."""
        return any(fault.action == "replay" for fault in self.faults)


class FaultMatcher:
    """Walks a plan through a run: counts occurrences, one count per fault and party."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._seen: Counter[tuple[int, int]] = Counter()

    def match(self, node: int, step: str, round_: int) -> tuple[Fault, ...]:
        """The faults that hit this message, in the order of the plan."""
        hits = []
        for place, fault in enumerate(self._plan.faults):
            if fault.matches(node, step, round_):
                self._seen[place, node] += 1
                if fault.occurrence in (None, self._seen[place, node]):
                    hits.append(fault)
        return tuple(hits)
