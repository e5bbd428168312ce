"""The record of one noised sum: the same flat facts for the accountant, the event log, the audit log and a sealed file's provenance.

Everything that an outsider needs to recompute epsilon is in it: the audit log of a run holds one such entry for each sum, so `sums` of the
entries, composed, give the epsilon that the last one states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

from stfed.audit.events import Event, Kind
from stfed.dp.mechanism import Sum
from stfed.errors import LocalError, shown

MECHANISM = "skellam"
NEIGHBOURS = "zero-out"
UNIT = "party"

_TOLERANCE = 1e-12  # the noise multiplier is computed from the other facts, by machines that may differ in the last bit


@dataclass(frozen=True, slots=True)
class DpRelease:
    """One noised sum that left the protocol. All of it is public.

    Attributes:
        round_number: the round in which it was released.
        what: which sum of the round: "update", or a name for another one.
        coordinates: d.
        l2_clip: C, in units of the model.
        scale: s, ring units in one unit of the model.
        norm_bound_squared: D2^2 in squared ring units: the bound on a party's integer vector.
        share_variance: V: the variance per coordinate of one party's noise, in squared ring units.
        honest_survivors: h: honest parties whose noise is in every sum of such a round. mu = h V.
        survivors: parties in this sum, so that its noise has the variance survivors * V if all of them added theirs.
        noise_multiplier: sqrt(h V) / D2.
        epsilon: what all sums so far cost, this one included.
        delta: the delta of this epsilon.
        mechanism: whose noise.
        neighbours: which two worlds are told apart: one party's vector is its own, or zero.
        unit: whose data differ.

    Raises:
        LocalError: the facts contradict each other.
    """

    round_number: int
    what: str
    coordinates: int
    l2_clip: float
    scale: float
    norm_bound_squared: int
    share_variance: float
    honest_survivors: int
    survivors: int
    noise_multiplier: float
    epsilon: float
    delta: float
    mechanism: str = MECHANISM
    neighbours: str = NEIGHBOURS
    unit: str = UNIT

    def __post_init__(self) -> None:
        if (self.mechanism, self.neighbours, self.unit) != (MECHANISM, NEIGHBOURS, UNIT):
            raise LocalError(f"this release is of another kind: {shown(self.mechanism)}, {shown(self.neighbours)}, {shown(self.unit)}")
        if not 1 <= self.honest_survivors <= self.survivors:
            raise LocalError(f"{self.honest_survivors} honest survivors were guaranteed in a sum of {self.survivors}")
        if not (isfinite(self.epsilon) and self.epsilon >= 0 and 0 < self.delta < 1):
            raise LocalError(f"epsilon {shown(self.epsilon)} at delta {shown(self.delta)} says nothing")
        if abs(self.noise_multiplier / self.sum.noise_multiplier - 1) > _TOLERANCE:
            raise LocalError("the noise multiplier of a release is not the one of its variance and its norm bound")

    @property
    def sum(self) -> Sum:
        """What an accountant composes."""
        return Sum(self.norm_bound_squared, self.coordinates, self.honest_survivors * self.share_variance)

    def as_dict(self) -> dict[str, str | int | float]:
        """The facts by name. The norm bound is text, because it may take more than the 53 bits that every reader of JSON keeps."""
        return {**asdict(self), "norm_bound_squared": str(self.norm_bound_squared)}

    def event(self) -> Event:
        """The entry of an audit log."""
        return Event(Kind.DP_RELEASE, self.as_dict())

    @classmethod
    def parse(cls, facts: Mapping[str, Any]) -> Self:
        """Reads what `as_dict` wrote, also among the other facts of a file's provenance.

        Raises:
            LocalError: a fact is missing, of another type or impossible.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = facts.get(field.name)
            if field.name == "norm_bound_squared" and isinstance(value, str) and value.isascii() and value.isdigit():
                value = int(value)
            kinds = {"int": (int,), "float": (int, float), "str": (str,)}[str(field.type)]
            if type(value) not in kinds:
                raise LocalError(f"the {field.name} of a release is {shown(value)}", hint="it is what DpRelease.as_dict() returned")
            values[field.name] = value
        return cls(**values)
