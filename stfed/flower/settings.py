"""What a coordinator decides about its secure rounds, in one place, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from stfed.encoding import Array, EncodingPlan
from stfed.errors import LocalError
from stfed.secagg.params import GraphChoice, Mode, Parameters, choose, corrupt_parties, dropped_parties
from stfed.secagg.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The coordinator's settings; a party accepts them only as far as its own policy allows.

    Attributes:
        mode: what the parties trust the coordinator with, a `Mode` or its name: "semi-honest", or "malicious", which needs a roster.
        gamma: share of the cohort, at most, that may collude with the coordinator; in malicious mode of the roster.
        delta: share of the cohort that may vanish at any step.
        graph: "complete", "sparse", or "auto" (complete up to 32 parties, 128 in malicious mode, then the smallest secure degree).
        neighbours: k, checked instead of chosen.
        threshold: t, checked instead of chosen.
        ring_bits: b, bits of a ring word and of a parameter on the wire, 8 to 64.
        clip: largest change of one coordinate of the model in one round; larger ones are cut to it and counted.
        max_weight: largest weight (num-examples) of a party. The closer to the real ones, the more precise the mean. A larger one counts
            as this one, and the coordinator is told, through the sum, how many did.
        uniform: every party counts the same (max_weight is not used), and its num-examples never leaves it. Without this, the exact total
            weight of each round is part of the result, and the difference of two rounds is the weight of whoever took part in only one.
        metric_slots: how many metrics a reply may have.
        light_timeout_s: how long JOIN, PREPARE, CONFIRM and UNMASK wait for a party. TRAIN waits as long as `start(timeout=...)` says.
        allow_insecure: run malicious mode although the SuperLink has no TLS, or nobody can tell.
        on_failure: what a round does that cannot be finished securely: "raise", or "skip" (log the error, keep the model, go on).
    """

    mode: Mode = Mode.SEMI_HONEST
    gamma: float = 0.1
    delta: float = 0.1
    graph: GraphChoice = "auto"
    neighbours: int | None = None
    threshold: int | None = None
    ring_bits: int = 32
    clip: float = 8.0
    max_weight: float = 10_000.0
    uniform: bool = False
    metric_slots: int = 32
    light_timeout_s: float = 120.0
    allow_insecure: bool = False
    on_failure: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        if isinstance(self.mode, str):
            object.__setattr__(self, "mode", _mode_named(self.mode))
        if not isinstance(self.mode, Mode):
            raise LocalError(f"mode is {self.mode!r}", hint="use a Mode or its name")
        for name in ("uniform", "allow_insecure"):
            if not isinstance(getattr(self, name), bool):
                raise LocalError(f"{name} is {getattr(self, name)!r}", hint="use True or False")
        if isinstance(self.light_timeout_s, str | bool | None) or not self.light_timeout_s > 0:
            raise LocalError(f"light_timeout_s is {self.light_timeout_s!r}, it must be a positive number of seconds")
        if self.on_failure not in ("raise", "skip"):
            raise LocalError(f"on_failure is {self.on_failure!r}", hint='use "raise" or "skip"')
        if self.graph not in get_args(GraphChoice):
            raise LocalError(f"graph is {self.graph!r}", hint="use " + ", ".join(map(repr, get_args(GraphChoice))))
        for name in ("neighbours", "threshold"):
            if (value := getattr(self, name)) is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise LocalError(f"{name} is {value!r}, it must be a whole number, 1 or more", hint="leave it out: it is chosen well")
        corrupt_parties(2, self.gamma), dropped_parties(2, self.delta)
        self.plan({}, 2)

    def plan(self, arrays: Mapping[str, Array], parties: int, weight_key: str = "num-examples") -> EncodingPlan:
        """The encoding of a round over these arrays, or the reason why there is none."""
        return EncodingPlan.for_arrays(
            arrays,
            parties=parties,
            ring_bits=self.ring_bits,
            clip=self.clip,
            max_weight=1 if self.uniform else self.max_weight,
            uniform=self.uniform,
            metric_slots=self.metric_slots,
            weight_key=weight_key,
        )

    def parameters(self, n: int, roster: int | None = None) -> Parameters:
        """(k, t) for a cohort of n, or the reason why there are none.

        Args:
            n: parties in the cohort.
            roster: N, the parties that it is picked from; malicious mode.
        """
        return choose(n, self.gamma, self.delta, mode=self.mode, roster=roster, graph=self.graph, k=self.neighbours, t=self.threshold)

    def floor(self, n: int, k: int, roster: int | None = None) -> int:
        """The fewest parties that a sum may have; what the parties' default policy asks for."""
        return Policy(mode=self.mode, gamma=self.gamma, delta=self.delta, roster=roster).floor(n, k)

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "mode": self.mode.value}


def _mode_named(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise LocalError(f"mode is {name!r}", hint="use " + " or ".join(repr(mode.value) for mode in Mode)) from None
