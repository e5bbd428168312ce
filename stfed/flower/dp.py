"""`DistributedDp`: what a coordinator asks for to make a run differentially private, and `Privacy`, what becomes of it round by round.

    SecureAggregation(FedAvg(fraction_evaluate=0.0), dp=DistributedDp(l2_clip=0.5, epsilon=8.0, delta=1e-5), uniform=True)

The noise is the parties': each adds its share inside its masked vector (`stfed.encoding.noise`), so nobody ever sees a sum with less. The
coordinator chooses how much and accounts for it; a party checks the amount against its own policy (`Policy.noise_multiplier`). The unit of
privacy is one party. docs/privacy.md has the claim with every constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean

from stfed.dp import Budget, DpRelease, Sum, calibrate_noise
from stfed.dp.fitting import fit
from stfed.encoding import EncodingPlan
from stfed.encoding.noise import Bounded
from stfed.errors import LocalError
from stfed.flower.journal import Journal

Bounds = Mapping[str, tuple[float, float]]
_CALIBRATION_SLACK = 0.99
"""What a round costs depends a little on its cohort. A run that is calibrated for its rounds has all of them with fewer parties, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveClipping:
    """The clip follows a quantile of the norms (Andrew, Thakkar, McMahan and Ramaswamy, *Differentially Private Learning with Adaptive
    Clipping*, NeurIPS 2021): each party adds one bit to its noised vector, whether its norm was within the clip, and after each round

        C <- C exp(-learning_rate (noised share of parties within C - quantile)).

    Attributes:
        quantile: the share of parties whose norm is to be within the clip.
        learning_rate: of the logarithm of the clip.
        low: the clip never goes below.
        high: nor above.

    Raises:
        LocalError: a number out of its range.
    """

    quantile: float = 0.5
    learning_rate: float = 0.2
    low: float = 1e-3
    high: float = 1e6

    def __post_init__(self) -> None:
        numbers = all(isinstance(getattr(self, name), int | float) for name in self.__dataclass_fields__)
        if not (numbers and 0 < self.quantile < 1 and 0 < self.learning_rate <= 10 and 0 < self.low <= self.high):
            raise LocalError("adaptive clipping needs a quantile between 0 and 1, a positive learning_rate, and 0 < low <= high")

    def next(self, clip: float, within: float) -> float:
        """The clip of the next round.

        Args:
            clip: of this one.
            within: the noised share; what noise brought outside [0, 1] counts as 0 or 1.
        """
        share = min(max(within, 0.0), 1.0)
        return min(max(clip * math.exp(-self.learning_rate * (share - self.quantile)), self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedDp:
    """How private a run is to be.

    Attributes:
        l2_clip: C, the largest L2 norm of one party's change of the model in one round; with `adaptive`, of the first round.
        noise_multiplier: z, the deviation of the noise by C, counting the noise of the parties only that are certain to be honest and in
            the sum. Left out: the smallest with which all rounds of `start` stay within epsilon.
        epsilon: what all sums of the run together may cost. The run stops before the round that would exceed it. Left out: no limit.
        delta: of the same; well below 1 / (number of parties).
        train_metrics: metrics of training that may leave, with their bounds; they get noise with the update. No others leave.
        evaluate_metrics: likewise of evaluation, which without any does not take place: set `fraction_evaluate=0.0`.
        scalar_share: the norm of all these, as a share of C: larger is more precise metrics and a noisier model.
        adaptive: learn the clip.

    Raises:
        LocalError: a setting out of its range.
    """

    l2_clip: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float = 1e-5
    train_metrics: Bounds = field(default_factory=dict)
    evaluate_metrics: Bounds = field(default_factory=dict)
    scalar_share: float = 0.3
    adaptive: AdaptiveClipping | None = None

    def __post_init__(self) -> None:
        for name, value in (("l2_clip", self.l2_clip), ("noise_multiplier", self.noise_multiplier), ("scalar_share", self.scalar_share)):
            if name == "noise_multiplier" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise LocalError(f"{name} is {value!r}, it must be a positive number")
        if self.noise_multiplier is None and self.epsilon is None:
            raise LocalError("neither noise_multiplier nor epsilon is given", hint="one follows from the other; both are possible, too")
        for name, value in (("epsilon", self.epsilon), ("delta", self.delta)):
            if isinstance(value, bool) or not isinstance(value, int | float | (type(None) if name == "epsilon" else float)):
                raise LocalError(f"{name} is {value!r}, it must be a number")
        if not isinstance(self.adaptive, AdaptiveClipping | None):
            raise LocalError(f"adaptive is {self.adaptive!r}", hint="use AdaptiveClipping(quantile=0.5)")
        Budget(self.epsilon, self.delta)
        self._bounded(self.train_metrics), self._bounded(self.evaluate_metrics)

    @staticmethod
    def _bounded(bounds: Bounds) -> tuple[Bounded, ...]:
        try:
            numbers = [(name, float(low), float(high)) for name, (low, high) in sorted(bounds.items())]
        except (AttributeError, TypeError, ValueError):
            raise LocalError(f"the bounds of metrics are {bounds!r}", hint='write {"loss": (0, 5)}: a low and a high number each') from None
        return tuple(Bounded(*number) for number in numbers)

    def plan(self, plan: EncodingPlan, survivors: int, corrupt: int, ring_bits: int | None = None) -> EncodingPlan:
        """The plan with this noise.

        Args:
            plan: uniform, without metric slots; without tensors it is that of an evaluation.
            survivors: the fewest parties in a sum.
            corrupt: how many of them may be corrupt.
            ring_bits: b, if it is not to be chosen.

        Raises:
            LocalError: this cannot be, with the reason.
        """
        if self.noise_multiplier is None:
            raise LocalError("the noise multiplier is not known yet", hint="SecureAggregation.start finds it")
        train = bool(plan.tensors)
        metrics = self.train_metrics if train else self.evaluate_metrics
        if not train and not metrics:
            raise LocalError(
                "in a differentially private run parties evaluate nothing unless it is said what may leave, within which bounds",
                hint='set fraction_evaluate=0.0, or evaluate_metrics={"accuracy": (0, 1)}',
            )
        return fit(
            plan,
            l2_clip=self.l2_clip,
            noise_multiplier=self.noise_multiplier,
            survivors=survivors,
            corrupt=corrupt,
            scalars=self._bounded(metrics),
            norm_bit=train and self.adaptive is not None,
            scalar_share=self.scalar_share,
            ring_bits=ring_bits,
        )

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        adaptive = self.adaptive
        return {
            "l2_clip": self.l2_clip,
            "noise_multiplier": self.noise_multiplier,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "train_metrics": {name: list(bounds) for name, bounds in self.train_metrics.items()},
            "evaluate_metrics": {name: list(bounds) for name, bounds in self.evaluate_metrics.items()},
            "scalar_share": self.scalar_share,
            "adaptive": None if adaptive is None else asdict(adaptive),
        }


def sum_of(plan: EncodingPlan, corrupt: int) -> Sum:
    """What the sum of a round with this plan gives away."""
    noise = plan.noise
    if noise is None:
        raise LocalError("a sum without noise has no price in epsilon")
    return Sum(noise.norm_bound_squared, plan.vector_length, (noise.survivors - corrupt) * noise.share_variance)


class Privacy:
    """The private side of one run: which clip and how much noise, and what was spent.

    Args:
        dp: as asked for.
        rounds: how many rounds there will be; None if nobody knows, which calibration has to.
        sums: how many sums a round has: two if parties evaluate.
        journal: keeps what the run has spent, also before this.
        run: Flower's run id.
    """

    def __init__(
        self, dp: DistributedDp, rounds: int | None = None, sums: int = 1, *, journal: Journal | None = None, run: int = 0
    ) -> None:
        self._rounds, self._sums, self._journal, self._run = rounds, sums, journal or Journal(), run
        last_round, accountant = self._journal.spent(run)
        self.dp: DistributedDp = dp
        self.budget: Budget = Budget(dp.epsilon, dp.delta, accountant, last_round)
        self._pending: Sum | None = None

    def calibrate(self, plan: EncodingPlan, survivors: int, corrupt: int) -> None:
        """Finds the noise multiplier, if none is given, from the first plan of the run.

        Raises:
            LocalError: nobody knows how many rounds there will be, or no noise is enough.
        """
        if self.dp.noise_multiplier is not None or self.dp.epsilon is None:
            return
        if self._rounds is None:
            raise LocalError(
                "how much noise epsilon takes depends on the number of rounds, which nobody knows", hint="give noise_multiplier"
            )
        one = sum_of(replace(self.dp, noise_multiplier=1.0).plan(plan, survivors, corrupt), corrupt)

        def at(multiplier: float) -> Sum:
            # Of several sums of a round with the same multiplier, each has so many times the variance of one that costs as much as all.
            return replace(one, variance=multiplier**2 * one.norm_bound_squared / self._sums)

        found = calibrate_noise(_CALIBRATION_SLACK * self.dp.epsilon, self.dp.delta, self._rounds, at)
        self.dp = replace(self.dp, noise_multiplier=found)

    def allow(self, plan: EncodingPlan, corrupt: int, round_number: int | None) -> None:
        """Pays for a sum before anything of it is sent. Sums between two `settle` are of one request: a party is in one of them.

        Raises:
            BudgetError: there is no room for it, with what was spent, and after which round the run stopped.
        """
        asked = sum_of(plan, corrupt)
        pending = asked if self._pending is None else Sum.covering([self._pending, asked])
        self.budget.check(pending, round_number=round_number)
        self._pending = pending
        last_round = self.budget.last_round if round_number is None else round_number
        self._journal.spend(self._run, last_round, self.budget.accountant.with_also(pending))

    def settle(self, sums: Sequence[tuple[EncodingPlan, int]], round_number: int, survivors: int | None, what: str) -> DpRelease:
        """The record of what a request gave away. One that failed counts as well: a coordinator may have got to see it all the same.

        Args:
            sums: the plan of each, and how many of its parties may be corrupt. Of groups it covers each.
            round_number: the strategy's.
            survivors: parties in the sum, of groups in the smallest; None if it failed.
            what: "train" or "evaluate".
        """
        plan, corrupt = min(sums, key=lambda one: sum_of(*one).variance)
        noise, covering = plan.noise, Sum.covering(sum_of(*one) for one in sums)
        assert noise is not None
        self._pending = None
        release = self.budget.spend(
            covering,
            round_number=round_number,
            l2_clip=noise.clip,
            scale=plan.scale,
            share_variance=noise.share_variance,
            honest_survivors=noise.survivors - corrupt,
            survivors=noise.survivors if survivors is None else max(survivors, noise.survivors - corrupt),
            what=what if survivors is not None else f"{what}, failed",
        )
        self._journal.spend(self._run, self.budget.last_round, self.budget.accountant)
        return release

    def learn(self, within: Sequence[float]) -> None:
        """The clip of the next round, out of this round's noised shares: one, or one for each group."""
        if self.dp.adaptive is not None and within:
            self.dp = replace(self.dp, l2_clip=self.dp.adaptive.next(self.dp.l2_clip, fmean(within)))
