"""A bound on what a run gives away, held before every round: one that would exceed it is never asked for."""

from __future__ import annotations

from math import isfinite

from stfed.dp.accountant import Accountant, check_delta
from stfed.dp.mechanism import Sum
from stfed.dp.release import DpRelease
from stfed.errors import LocalError, shown

_ROUNDINGS = 1e-12  # h V is a product of doubles here and there


class BudgetError(LocalError):
    """The next round would cost more than is left; nothing was asked of anybody.

    Attributes:
        last_round: the last round whose sum was released; 0 if none was.
        spent: the epsilon up to and including it.
    """

    def __init__(self, message: str, last_round: int, spent: float, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.last_round = last_round
        self.spent = spent


class Budget:
    """At most epsilon at delta, for all sums of a run together.

    `check` before anything of a round is sent; `spend` for every round that was begun, also one that failed: what a coordinator saw of it
    may have been all it takes.

    Attributes:
        epsilon: the most that all sums together may cost; None: any, but it is accounted for.
        delta: the delta at which it is meant.
        accountant: what was released so far, in this run and, after a restart, before it.
        last_round: the last round whose sum was released.

    Raises:
        LocalError: epsilon or delta is out of range.
    """

    def __init__(self, epsilon: float | None, delta: float, accountant: Accountant | None = None, last_round: int = 0) -> None:
        if epsilon is not None and (not isfinite(epsilon) or epsilon <= 0):
            raise LocalError(f"the budget epsilon is {shown(epsilon)}, it must be a positive number", hint="None is no limit")
        check_delta(delta)
        self.epsilon = epsilon
        self.delta = delta
        self.accountant: Accountant = Accountant() if accountant is None else accountant
        self.last_round: int = last_round

    @property
    def spent(self) -> float:
        """What all sums so far cost, as epsilon at this budget's delta."""
        return self.accountant.epsilon(self.delta)

    def check(self, *sums: Sum, round_number: int | None = None) -> float:
        """What the run will have cost after one more round in which these sums are released.

        Raises:
            BudgetError: that is more than `epsilon`.
        """
        after = self.accountant.with_also(*sums).epsilon(self.delta)
        if self.epsilon is not None and after > self.epsilon:
            begun = "the next round" if round_number is None else f"round {round_number}"
            past = f"after round {self.last_round} the run has" if self.last_round else "before its first round the run has"
            spent = self.spent
            raise BudgetError(
                f"{past} spent epsilon {spent:.4f} of {self.epsilon:g} at delta {self.delta:g}, and {begun} would bring it to {after:.4f};"
                " it was not started",
                self.last_round,
                spent,
                hint=f"the model of round {self.last_round} stands; more rounds need more noise or a larger epsilon from the start"
                if self.last_round
                else "more noise, a larger epsilon, or leave noise_multiplier out to have it calibrated",
            )
        return after

    def spend(
        self,
        released: Sum,
        *,
        round_number: int,
        l2_clip: float,
        scale: float,
        share_variance: float,
        honest_survivors: int,
        survivors: int,
        what: str = "update",
    ) -> DpRelease:
        """Counts a sum, and returns the record of it. It never refuses for want of budget: what is out is out, and has to be counted.

        Args:
            released: the sum, of variance `honest_survivors` * `share_variance`.
            round_number: as in `DpRelease`, like all others.
            l2_clip: of one party's vector.
            scale: ring units in one unit of the model.
            share_variance: of one party's noise.
            honest_survivors: the guaranteed ones.
            survivors: those in the sum.
            what: which sum of the round.

        Raises:
            LocalError: the facts contradict each other; nothing was counted.
        """
        if abs(honest_survivors * share_variance / released.variance - 1) > _ROUNDINGS:
            raise LocalError(f"{honest_survivors} honest survivors do not add noise of the variance {released.variance:g}")
        exact = Sum(released.norm_bound_squared, released.coordinates, honest_survivors * share_variance)
        after = self.accountant.with_also(exact)
        release = DpRelease(
            round_number=round_number,
            what=what,
            coordinates=exact.coordinates,
            l2_clip=l2_clip,
            scale=scale,
            norm_bound_squared=exact.norm_bound_squared,
            share_variance=share_variance,
            honest_survivors=honest_survivors,
            survivors=survivors,
            noise_multiplier=exact.noise_multiplier,
            epsilon=after.epsilon(self.delta),
            delta=self.delta,
        )
        self.accountant, self.last_round = after, max(self.last_round, round_number)
        return release
