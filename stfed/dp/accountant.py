"""What all noised sums so far give away together, and how much noise keeps it below a bound.

Rényi divergences of adaptively chosen mechanisms add up, order by order (Mironov, *Rényi Differential Privacy*, CSF 2017, Proposition 1),
whether they are sums of several rounds or several sums of one round. The conversion to (epsilon, delta) is `dp_accounting.rdp`'s, which is

    epsilon = min over alpha of  rdp(alpha) + ln(1 - 1 / alpha) - ln(delta alpha) / (alpha - 1)

(Canonne, Kamath, Steinke, *The Discrete Gaussian for Differential Privacy*, NeurIPS 2020, Proposition 12). There is no amplification by
subsampling here: it needs a choice of parties that is random and unknown to the adversary, and the coordinator is the adversary and knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stfed.dp.mechanism import Sum
from stfed.errors import LocalError, shown

ORDERS = (*range(2, 257), *(2**octave * step // 16 for octave in range(8, 17) for step in range(17, 33)))
"""Every whole order to 256, then sixteen an octave to 2^17: other orders would lower an epsilon from 0.001 to 10 by less
than a percent."""

PRECISION = 1e-3
"""How far above the smallest one, relatively, a calibrated noise multiplier may lie."""

_MOST, _LEAST = 2.0**40, 2.0**-20  # noise multipliers between which one is looked for


class Accountant:
    """The sums that were released, and what they give away. Composition does not depend on their order.

    Args:
        sums: what was released before.
    """

    def __init__(self, sums: Iterable[Sum] = ()) -> None:
        self._times: dict[Sum, int] = {}
        for released in sums:
            self.compose(released)

    @property
    def releases(self) -> int:
        """How many sums."""
        return sum(self._times.values())

    @property
    def rdp(self) -> NDArray[np.float64]:
        """The Rényi divergence of all of them together at each of `ORDERS`, in nats."""
        return sum((times * released.rdp(ORDERS) for released, times in self._times.items()), np.zeros(len(ORDERS)))

    def compose(self, released: Sum, times: int = 1) -> None:
        """Adds a sum that is released `times` times, each time with fresh noise."""
        if type(times) is not int or times < 0:
            raise LocalError(f"a sum cannot be released {shown(times)} times")
        if times:
            self._times[released] = self._times.get(released, 0) + times

    def with_also(self, *sums: Sum) -> Accountant:
        """A second accountant, as this one would be after these sums."""
        after = Accountant()
        after._times = dict(self._times)
        for released in sums:
            after.compose(released)
        return after

    def epsilon(self, delta: float) -> float:
        """The epsilon for which everything so far is (epsilon, delta)-differentially private; 0 before the first sum.

        Raises:
            LocalError: delta is not between 0 and 1, or the extra `dp` is not installed.
        """
        check_delta(delta)
        try:
            from dp_accounting import rdp
        except ImportError:
            raise LocalError(
                "accounting for differential privacy needs the package dp-accounting", hint="pip install 'stfed[dp]'"
            ) from None
        return float(rdp.compute_epsilon(ORDERS, self.rdp, delta)[0]) if self._times else 0.0

    def state(self) -> list[dict[str, str | int | float]]:
        """All of it for canonical JSON: the sums and how often, from which `restore` computes the same curve."""
        return [
            {"norm_bound_squared": str(s.norm_bound_squared), "coordinates": s.coordinates, "variance": s.variance, "times": times}
            for s, times in self._times.items()
        ]

    @classmethod
    def restore(cls, state: Sequence[Mapping[str, Any]]) -> Self:
        """The accountant whose `state` this is.

        Raises:
            LocalError: it is nobody's.
        """
        accountant = cls()
        try:
            for entry in state:
                bound, coordinates, variance = int(entry["norm_bound_squared"]), entry["coordinates"], float(entry["variance"])
                accountant.compose(Sum(bound, coordinates, variance), entry["times"])
        except (KeyError, TypeError, ValueError) as error:
            raise LocalError(f"this is not the state of an accountant: {error}", hint="it is what Accountant.state() returned") from None
        return accountant


def check_delta(delta: float) -> None:
    """Refuses a delta outside ]0, 1[."""
    if not 0 < delta < 1:
        raise LocalError(f"delta is {shown(delta)}, it must lie between 0 and 1", hint="well below 1 / (number of parties)")


def epsilon_of(sums: Sequence[Sum], delta: float, rounds: int) -> float:
    """What `rounds` rounds cost in each of which all of `sums` are released."""
    accountant = Accountant()
    for released in sums:
        accountant.compose(released, rounds)
    return accountant.epsilon(delta)


def calibrate_noise(epsilon: float, delta: float, rounds: int, make_sum: Callable[[float], Sum], also: Sequence[Sum] = ()) -> float:
    """The least noise with which `rounds` rounds stay within (epsilon, delta).

    Args:
        epsilon: what all rounds together may cost.
        delta: of the same.
        rounds: how many.
        make_sum: the sum of one round for a noise multiplier. More noise must not cost more.
        also: sums of each round whose noise is not looked for, such as the noised bits of adaptive clipping.

    Returns:
        A noise multiplier that is enough and at most a thousandth above the smallest.

    Raises:
        LocalError: arguments out of range, or `also` alone costs epsilon.
    """
    if not isfinite(epsilon) or epsilon <= 0 or rounds < 1:
        raise LocalError(f"{shown(rounds)} rounds cannot be calibrated for epsilon {shown(epsilon)}: both must be positive")

    def cost(multiplier: float) -> float:
        return epsilon_of([make_sum(multiplier), *also], delta, rounds)

    enough = 1.0
    while cost(enough) > epsilon:
        enough *= 2
        if enough > _MOST:
            raise LocalError(
                f"no noise keeps {rounds} rounds within epsilon {epsilon:g} at delta {delta:g}", hint="fewer rounds, or a larger epsilon"
            )
    little = enough / 2
    while little > _LEAST and cost(little) <= epsilon:
        enough, little = little, little / 2
    while enough > little * (1 + PRECISION):
        middle = (little + enough) / 2
        little, enough = (little, middle) if cost(middle) <= epsilon else (middle, enough)
    return enough
