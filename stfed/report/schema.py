"""What is in the event log of a run: every event, every field, its type, and what it says. docs/events.md is written from this table.

Fields may be added in later versions; none that is here changes its meaning. A reader ignores events and fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

_WHOLE_END = 1 << 63
"""Whole numbers fit 64 bits with their sign, as everything that they are exported to wants them."""
_NODE_DIGITS = 20
_YEAR_9999_S = 253_402_214_400.0
_PHASES = ("train", "evaluate")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event.

    Attributes:
        type: in JSON's words; "or null" where it may be missing.
        text: what it says, with its unit.
        among: the only texts that it may be, where readers tell them apart; empty for any.
        most: the largest number that it may be, and 0 is the least; None for any.
    """

    type: str
    text: str
    among: tuple[str, ...] = ()
    most: float | None = None

    def takes(self, value: object) -> bool:
        """Whether a value is of the type, and one of those that it may be."""
        kind, _, null = self.type.partition(" or ")
        if value is None and null == "null":
            return True
        if not _TAKES[kind](value):
            return False
        in_range = self.most is None or (isinstance(value, int | float) and 0 <= value <= self.most)
        return in_range and (not self.among or value in self.among)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_WHOLE_END <= value < _WHOLE_END


def _is_number(value: object) -> bool:
    return _is_int(value) or (isinstance(value, float) and isfinite(value))


def _is_node(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _NODE_DIGITS and value.isascii() and value.isdecimal()


def _is_drop(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(part), str) for part in ("step", "reason", "detail"))


def _all(test: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(test(one) for one in value.values())


_TAKES: dict[str, Callable[[object], bool]] = {
    "whole number": _is_int,
    "number": _is_number,
    "text": lambda value: isinstance(value, str),
    "list of node ids": lambda value: isinstance(value, list) and all(map(_is_node, value)),
    "numbers by name": _all(_is_number),
    "whole numbers by step": _all(_is_int),
    "numbers by step": _all(_is_number),
    "values by name": lambda value: isinstance(value, dict),
    "texts by node id": _all(lambda one: isinstance(one, str)),
    "drops by node id": _all(_is_drop),
    "release": lambda value: isinstance(value, dict) and not _wrong("release", value, _RELEASE),
}

COMMON = {
    "time": Field("number", "seconds since 1970, by the coordinator's clock", most=_YEAR_9999_S),
    "event": Field("text", "which event it is"),
}
"""Fields of every line."""

_RELEASE: Mapping[str, Field] = {
    "round_number": Field("whole number", "protocol round of the sum"),
    "what": Field("text", "which sum of the round: train or evaluate"),
    "coordinates": Field("whole number", "length of the noised vector"),
    "l2_clip": Field("number", "bound on the norm of one party's update, in units of the model"),
    "scale": Field("number", "ring units in one unit of the model"),
    "norm_bound_squared": Field("text", "bound on the squared norm of a party's integer vector; text: it may have over 53 bits"),
    "share_variance": Field("number", "variance of one party's noise, in squared ring units"),
    "honest_survivors": Field("whole number", "honest parties whose noise is in every such sum"),
    "survivors": Field("whole number", "parties in this sum"),
    "noise_multiplier": Field("number", "deviation of the honest noise over the norm bound"),
    "epsilon": Field("number", "what all sums of the run so far give away together, this one included"),
    "delta": Field("number", "at this delta"),
    "mechanism": Field("text", "skellam"),
    "neighbours": Field("text", "which two worlds are told apart: zero-out"),
    "unit": Field("text", "whose data differ between them: party"),
}

EVENTS: Mapping[str, tuple[str, Mapping[str, Field]]] = {
    "start": (
        "A run begins.",
        {
            "strategy": Field("text", "class of the strategy that is wrapped"),
            "num_rounds": Field("whole number", "rounds that it was asked for"),
            "run": Field("text", "Flower's run id"),
            "settings": Field("values by name", "settings of `SecureAggregation`, by their names there"),
        },
    ),
    "epoch": (
        "Parties have joined: all of them anew, with new keys.",
        {
            "epoch": Field("whole number", "counts from 1"),
            "asked": Field("whole number", "nodes that were asked"),
            "joined": Field("whole number", "nodes that did"),
            "refused": Field("texts by node id", "why a node did not"),
        },
    ),
    "step": (
        "A step of a secure sum began, goes on, or is over: for whoever watches. At most one a second for each step while replies come in.",
        {
            "phase": Field("text", "train or evaluate", among=_PHASES),
            "server_round": Field("whole number or null", "Flower's round"),
            "group": Field("whole number or null", "which group of parties, from 0; null if it is all of them"),
            "round": Field("whole number", "the protocol's round number; 0 in a JOIN, which comes before it has one"),
            "step": Field("text", "join, prepare, train, confirm, unmask, or sum, in which the coordinator works alone"),
            "asked": Field("whole number", "parties that were asked; 0 in `sum`"),
            "answered": Field("whole number", "that have answered so far, with an error too"),
            "bytes_down": Field("whole number", "of this step so far, to all parties"),
            "bytes_up": Field("whole number", "from all parties, likewise"),
            "seconds": Field("number or null", "time that it took; null as long as it is not over"),
        },
    ),
    "round": (
        "One secure sum: of training or of evaluation, over all parties or over a group of them. Failed ones are here too.",
        {
            "phase": Field("text", "train or evaluate", among=_PHASES),
            "asked": Field("list of node ids", "whom the strategy sampled"),
            "server_round": Field("whole number or null", "Flower's round"),
            "group": Field("whole number or null", "which group of parties, from 0; null if it was all of them"),
            "round": Field("whole number", "the protocol's round number; every sum has its own"),
            "epoch": Field("whole number", "the epoch it was in"),
            "summed": Field("list of node ids", "whose updates are in the sum"),
            "dropped": Field("drops by node id", "at which step who dropped, why (one of a fixed set of reasons), and in which words"),
            "n": Field("whole number", "parties in the cohort"),
            "k": Field("whole number", "neighbours of each"),
            "t": Field("whole number", "shares that recover a secret"),
            "graph": Field("text", "complete, harary or k-out; empty if the round never began"),
            "mode": Field(
                "text", "semi-honest, malicious, ckks (an encrypted sum) or plain (no protection); empty if the round never began"
            ),
            "corrupt": Field("whole number", "parties that may work with the coordinator without learning an update"),
            "quorum": Field("whole number or null", "signatures that the survivor set needed; null in semi-honest mode"),
            "confirmed": Field("list of node ids", "who signed it"),
            "ring_bits": Field("whole number", "bits of a masked parameter; 0 in an encrypted sum"),
            "clip": Field("number", "largest coordinate of an update that is not clipped"),
            "max_weight": Field("number", "largest weight of a party"),
            "parameters": Field("whole number", "length of the summed vector"),
            "clipped": Field("whole number", "coordinates that were clipped, over all parties"),
            "saturated": Field("whole number", "parties whose weight was over max_weight"),
            "error_bound": Field(
                "number", "most that rounding moves a coordinate of the mean, rounded up to a power of two; without noise"
            ),
            "within": Field("number or null", "with adaptive clipping, the share of parties that were within the clip, as it was measured"),
            "privacy": Field("release or null", "as the event `release`; null without differential privacy"),
            "metrics": Field("values by name", "weighted means of the parties' metrics"),
            "trips": Field("whole number", "how often messages went out and replies came back"),
            "seconds": Field("numbers by step", "time of each step"),
            "bytes_down": Field("whole numbers by step", "to all parties, without Flower's framing; `ahead` is for the next round"),
            "bytes_up": Field("whole numbers by step", "from all parties, likewise"),
            "failure": Field("text or null", "why there is no sum"),
        },
    ),
    "release": ("A noised sum left the protocol: everything that recomputing epsilon takes.", _RELEASE),
    "model": (
        "The global model of a round was sealed into a file.",
        {
            "server_round": Field("whole number", "Flower's round"),
            "round": Field("whole number", "the protocol's round number"),
            "path": Field("text", "where it is"),
            "bytes": Field("whole number", "its size"),
        },
    ),
    "evaluation": (
        "The coordinator evaluated the global model.",
        {
            "server_round": Field("whole number", "Flower's round; 0 is the initial model"),
            "metrics": Field("values by name", "what the strategy's `evaluate_fn` said"),
        },
    ),
    "dispute": (
        "A party complained about shares that another one dealt it. Neither is proved to be at fault.",
        {
            "round": Field("whole number", "the protocol's round number"),
            "accuser": Field("text", "fingerprint of its identity"),
            "accused": Field("text", "likewise"),
            "grievance": Field("text", "of what, one of a fixed set"),
        },
    ),
    "budget": (
        "The privacy budget is spent, and the run ends early with what it has.",
        {
            "server_round": Field("whole number", "the last round that was paid for"),
            "spent": Field("number", "epsilon"),
        },
    ),
    "end": (
        "The run is over.",
        {
            "seconds": Field("number", "since `start`"),
            "failure": Field("text or null", "why it did not get to its end"),
        },
    ),
}
"""What each event says, and its fields beside `COMMON`."""


_FIELDS = {name: {**COMMON, **fields} for name, (_, fields) in EVENTS.items()}


def wrong(event: Mapping[str, Any]) -> list[str]:
    """What a reader cannot take, a sentence each: a field that lacks, or is of another type. What later versions add is not wrong."""
    name = event.get("event")
    return _wrong(str(name), event, _FIELDS.get(name, COMMON) if isinstance(name, str) else COMMON)


def faults(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event that this version wrote, a sentence each: as `wrong`, and a field or event that is not in the table."""
    name = str(event.get("event"))
    if name not in EVENTS:
        return [f"there is no event {name!r}"]
    return sorted(wrong(event) + [f"{name}: {field} is not in the table" for field in event.keys() - _FIELDS[name].keys()])


def _wrong(name: str, values: Mapping[str, Any], fields: Mapping[str, Field]) -> list[str]:
    found = [f"{name}: {field} lacks" for field in fields if field not in values]
    other = [(field, kind) for field, kind in fields.items() if field in values and not kind.takes(values[field])]
    return found + [f"{name}: {field} is no {' or '.join(kind.among) or kind.type}" for field, kind in other]
