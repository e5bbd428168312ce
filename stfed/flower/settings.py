"""What a coordinator decides about its secure rounds, in one place, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.encoding import Array, EncodingPlan
from stfed.encoding.rotation import SEED_BYTES, Rotation
from stfed.errors import LocalError
from stfed.flower.clipping import AdaptiveClip
from stfed.flower.dp import DistributedDp
from stfed.secagg.params import GraphChoice, Mode, Parameters, choose, corrupt_parties, dropped_parties
from stfed.secagg.policy import Policy

_RING_BITS = 32
"""One ring word is one 32-bit word: as many bytes as the float32 that it stands for."""


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
        ring_bits: b, bits of a ring word and of a parameter on the wire, 8 to 64. 32 if neither this nor `value_bits` is given: then the
            mean is that of plain floats for all purposes, with a clip that need not be known well.
        value_bits: bits of precision of one parameter of one party, 2 to 62, instead of `ring_bits`; b is the smallest for the parties of a
            round, v + ceil(log2 n) + 1 or less. 8 to 10 are enough with a clip that fits (docs/precision.md).
        rotation: rotate blocks of 256 coordinates by a random Hadamard matrix first, so that few bits serve a model with a few large
            changes and many small ones. Left out: yes with `value_bits`, no with `ring_bits`.
        clip: largest change of one coordinate of the model in one round; larger ones are cut to it and counted. With a rotation: of one
            rotated coordinate, which is nearly normal with the update's own root mean square: 8 times that is a good clip. An
            `AdaptiveClip` finds a good one, where the parties' policies let the clip move (`clip_moves`).
        max_weight: largest weight (num-examples) of a party. The closer to the real ones, the more precise the mean. A larger one counts
            as this one, and the coordinator is told, through the sum, how many did.
        dp: makes every sum differentially private (`stfed.flower.DistributedDp`). Needs `uniform`; `clip` and `metric_slots` count for
            nothing then, and the ring is the smallest that is fine enough unless `ring_bits` says otherwise. A sum needs all parties of a
            round but the share delta, whatever the graph: the noise of fewer would be too little.
        uniform: every party counts the same (max_weight is not used), and its num-examples never leaves it. Without this, the exact total
            weight of each round is part of the result, and the difference of two rounds is the weight of whoever took part in only one.
        metric_slots: how many metrics a reply may have.
        group_size: cut a training into random groups of at least so many parties, one sum each; a strategy that compares updates is given
            the groups' means to compare (docs/robust.md). None: one sum over all.
        regroup_every: draw the groups anew for every so many trainings. None keeps them: sums over ever new groups give away more.
        prepare_ahead: send the PREPARE of the next round along with the UNMASK of this one, where the next one can be foreseen.
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
    ring_bits: int | None = None
    value_bits: int | None = None
    rotation: bool | None = None
    dp: DistributedDp | None = None
    clip: float | AdaptiveClip = 8.0
    max_weight: float = 10_000.0
    uniform: bool = False
    metric_slots: int = 32
    group_size: int | None = None
    regroup_every: int | None = None
    prepare_ahead: bool = True
    light_timeout_s: float = 120.0
    allow_insecure: bool = False
    on_failure: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        if isinstance(self.mode, str):
            object.__setattr__(self, "mode", _mode_named(self.mode))
        if not isinstance(self.mode, Mode):
            raise LocalError(f"mode is {self.mode!r}", hint="use a Mode or its name")
        if self.ring_bits is not None and self.value_bits is not None:
            raise LocalError("ring_bits and value_bits are both given", hint="leave one out: either follows from the other")
        if self.rotation is None:
            object.__setattr__(self, "rotation", self.value_bits is not None or self.dp is not None)
        if self.dp is not None:
            self._check_dp(self.dp)
        elif self.ring_bits is None and self.value_bits is None:
            object.__setattr__(self, "ring_bits", _RING_BITS)
        if not isinstance(self.clip, int | float | AdaptiveClip):
            hint = "use a number, or AdaptiveClip(initial=1.0); AdaptiveClipping is for DistributedDp(adaptive=...)"
            raise LocalError(f"clip is a {type(self.clip).__name__}", hint=hint)
        for name in ("uniform", "rotation", "prepare_ahead", "allow_insecure"):
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
        for name, least_value in (("group_size", 2), ("regroup_every", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least_value):
                raise LocalError(f"{name} is {value!r}, it must be a whole number, {least_value} or more", hint="or leave it out")
        if self.regroup_every is not None and self.group_size is None:
            raise LocalError("regroup_every is given, but there are no groups", hint="set group_size")
        corrupt_parties(2, self.gamma), dropped_parties(2, self.delta)
        self.plain({}, 2)

    @classmethod
    def given(cls, whose: str, settings: Settings | None, fields: Mapping[str, Any]) -> Settings:
        """The settings, or those of these fields: whoever takes them takes them either way.

        Raises:
            LocalError: both are given, or a field that is none, or what the constructor raises.
        """
        if settings is not None and fields:
            raise LocalError(f"{', '.join(sorted(fields))} and settings are both given", hint="put all of them into Settings(...)")
        try:
            return settings or cls(**fields)
        except TypeError as error:
            raise LocalError(f"{whose}: {error}", hint=f"the settings are {', '.join(cls.__dataclass_fields__)}") from None

    def _check_dp(self, dp: object) -> None:
        if not isinstance(dp, DistributedDp):
            raise LocalError(f"dp is a {type(dp).__name__}", hint="use DistributedDp(l2_clip=..., epsilon=..., delta=...)")
        if not self.uniform:
            raise LocalError("with dp every party counts the same: a weight is a number about its data", hint="set uniform=True")
        if self.value_bits is not None:
            raise LocalError("with dp the precision of values follows from the noise", hint="leave value_bits out")
        if isinstance(self.clip, AdaptiveClip):
            raise LocalError("with dp the clip is a norm", hint="leave clip out, and set DistributedDp(adaptive=AdaptiveClipping(...))")

    @property
    def precision(self) -> str:
        """How precise, and how rotated, in words."""
        if self.dp is not None:
            return f"differentially private, L2 clip {self.dp.l2_clip:g}"
        bits = f"{self.ring_bits}-bit ring" if self.value_bits is None else f"{self.value_bits}-bit values"
        return f"{bits}, rotated" if self.rotation else bits

    @property
    def first_clip(self) -> float:
        """The clip, or the first of an adaptive one."""
        return self.clip.begin().clip if isinstance(self.clip, AdaptiveClip) else self.clip

    def plan(
        self, arrays: Mapping[str, Array], parties: int, weight_key: str = "num-examples", run: int = 0, roster: int | None = None
    ) -> EncodingPlan:
        """The encoding of a round over these arrays, or the reason why there is none.

        Args:
            arrays: the model that is sent; none for an evaluation, which has nothing to rotate.
            parties: n.
            weight_key: the metric that is the weight.
            run: the run's number, from which the rotation follows: parties ask for one encoding in a whole run, restarts included.
            roster: N, the parties that the cohort is picked from; malicious mode.
        """
        return self.noised(self.plain(arrays, parties, weight_key, run), roster)

    def resized(self, plan: EncodingPlan, parties: int, roster: int | None = None) -> EncodingPlan:
        """A plan of these settings for another number of parties."""
        return self.noised(replace(plan, parties=parties, noise=None), roster)

    def noised(self, plan: EncodingPlan, roster: int | None = None) -> EncodingPlan:
        """The plan with the noise of `dp`, if there is any."""
        if self.dp is None:
            return plan
        if self.mode is Mode.MALICIOUS and self.parameters(plan.parties, roster).k < plan.parties - 1:
            raise LocalError(
                f"in malicious mode {plan.parties} parties share a sparse graph, on which a lying coordinator can get sums with less noise",
                hint='set graph="complete", or sample fewer parties per round',
            )
        survivors = self.floor(plan.parties, plan.parties - 1, roster)
        return self.dp.plan(plan, survivors, self.corrupt(plan.parties, roster), self.ring_bits)

    def corrupt(self, n: int, roster: int | None = None) -> int:
        """How many parties of a cohort may be corrupt, at most."""
        return corrupt_parties(n, self.gamma, roster)

    def plain(self, arrays: Mapping[str, Array], parties: int, weight_key: str = "num-examples", run: int = 0) -> EncodingPlan:
        """`plan` without noise."""
        seed = digest(Label.ROTATION, run.to_bytes(8, "big"))[:SEED_BYTES]
        return EncodingPlan.for_arrays(
            arrays,
            parties=parties,
            ring_bits=_RING_BITS if self.ring_bits is None else self.ring_bits,  # with value_bits it counts for nothing
            value_bits=self.value_bits,
            rotation=Rotation(seed) if self.rotation and arrays else None,
            clip=self.first_clip,
            max_weight=1 if self.uniform else self.max_weight,
            uniform=self.uniform,
            metric_slots=0 if self.dp is not None else self.metric_slots,
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
        """The fewest parties that a sum may have; what the parties' default policy asks for, or what noise is made for."""
        least = Policy(mode=self.mode, gamma=self.gamma, delta=self.delta, roster=roster).floor(n, k)
        return least if self.dp is None else max(least, n - dropped_parties(n, self.delta))

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        clip = asdict(self.clip) if isinstance(self.clip, AdaptiveClip) else self.clip
        return {**fields, "mode": self.mode.value, "clip": clip, "dp": None if self.dp is None else self.dp.as_dict()}


def _mode_named(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise LocalError(f"mode is {name!r}", hint="use " + " or ".join(repr(mode.value) for mode in Mode)) from None
