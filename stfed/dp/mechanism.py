"""What one noised sum gives away: the Rényi curve of the Skellam mechanism on integer vectors of bounded norm.

The mechanism releases x + Z in Z^d, where Z_i are independent, symmetric Skellam variables of variance mu. Agarwal, Kairouz, Liu (*The
Skellam Mechanism for Differentially Private Federated Learning*, NeurIPS 2021, Theorem 3.5 and its corollary for vectors): for integer
alpha >= 2 and integer x with ||x||_2 <= D2 and ||x||_1 <= D1 the Rényi divergence of order alpha between x + Z and Z is at most

    alpha D2^2 / (2 mu) + min( ((2 alpha - 1) D2^2 + 6 D1) / (4 mu^2),  3 D1 / (2 mu) ).

The first term is what Gaussian noise of variance mu has, the second is the price of discreteness and goes to zero against it as mu grows.
For one coordinate it is the theorem; coordinates are independent, so their divergences add up, and a sum of minima is at most the minimum
of the sums. Z is symmetric: the divergence of Z from x + Z is the same. `tests/dp/test_mechanism.py` compares the curve with divergences
that are summed term by term.

x is an integer vector, so |x_i| <= x_i^2: D1 = min(sqrt(d) D2, D2^2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError, shown


@dataclass(frozen=True, slots=True)
class Sum:
    """One noised sum as an adversary sees it, in ring units. Everything here is public.

    Attributes:
        norm_bound_squared: D2^2: no party's integer vector has a larger squared 2-norm.
        coordinates: d.
        variance: mu, the variance per coordinate of the noise that the adversary cannot subtract: that of the guaranteed honest survivors.

    Raises:
        LocalError: a number is out of range.
    """

    norm_bound_squared: int
    coordinates: int
    variance: float

    def __post_init__(self) -> None:
        for name, value in (("norm_bound_squared", self.norm_bound_squared), ("coordinates", self.coordinates)):
            if type(value) is not int or not 1 <= value < 1 << 128:
                raise LocalError(f"{name} of a noised sum is {shown(value)}, it must be a whole number of at least 1 and below 2^128")
        if not isfinite(self.variance) or self.variance <= 0:
            raise LocalError(f"the variance of a noised sum is {shown(self.variance)}, without noise there is no privacy to account for")

    @classmethod
    def covering(cls, sums: Iterable[Sum]) -> Self:
        """One sum that costs at least as much as each of these, order by order.

        Where every party is in only one of them, as in groups of one round, this one is what they cost together: two neighbouring cohorts
        differ in one party, so in one of the sums, and the others are the same in both.

        With r = D2^2 / mu the bound is alpha r / 2 + min(((2 alpha - 1) r + 6 a) / (4 mu), 3 a / 2), a = min(sqrt(d r / mu), r): it grows
        with r and d and falls with mu. So the largest r and d and the smallest mu cover all, and D2^2 follows, rounded up.
        """
        all_of = tuple(sums)
        if not all_of:
            raise LocalError("no sum covers none")
        variance = min(s.variance for s in all_of)
        bound = max(ceil(s.norm_bound_squared * Fraction(variance) / Fraction(s.variance)) for s in all_of)
        return cls(bound, max(s.coordinates for s in all_of), variance)

    @property
    def noise_multiplier(self) -> float:
        """z = sqrt(mu) / D2, what DP-SGD calls the noise multiplier."""
        return sqrt(self.variance / self.norm_bound_squared)

    @property
    def l1_bound(self) -> float:
        """D1: no party's integer vector has a larger 1-norm."""
        return min(sqrt(self.coordinates) * sqrt(self.norm_bound_squared), float(self.norm_bound_squared))

    def rdp(self, orders: Sequence[int]) -> NDArray[np.float64]:
        """The bound above at each order.

        Args:
            orders: whole numbers from 2 on; the theorem says nothing of others.

        Returns:
            Rényi divergences in nats, of the shape of `orders`.

        Raises:
            LocalError: an order is no whole number, or below 2.
        """
        if any(type(order) is not int or order < 2 for order in orders):
            raise LocalError("the bound on Skellam noise holds for whole orders from 2 on")
        alpha, mu = np.array(orders, dtype=np.float64), self.variance
        squared, absolute = float(self.norm_bound_squared), self.l1_bound
        discreteness = np.minimum(((2 * alpha - 1) * squared + 6 * absolute) / (4 * mu**2), 3 * absolute / (2 * mu))
        curve: NDArray[np.float64] = alpha * squared / (2 * mu) + discreteness
        return curve
