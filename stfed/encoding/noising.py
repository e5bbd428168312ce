"""`Noising`: what a plan with noise does to one party's numbers, from the L2 clip to the noise.

    delta -> scaled down to the norm C -> rotated -> rounded to integers x, anew until ||x||_2^2 <= B2 -> x + Skellam(V)

The bound on the integers is what the guarantee rests on, so it is checked on the integers, in integer arithmetic: neither the norm in
floating point nor the rotation nor the rounding has to be trusted for it. That rounding is repeated until the bound holds is the
conditional rounding of Kairouz, Liu and Steinke (*The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
Aggregation*, ICML 2021): the plan's B2 is one that fails with a probability of less than exp(-1/2), in practice never.

The noise is exact: integers from the operating system's randomness (`skellam`), added to integers, so there is no floating-point number
whose last bits could tell (Mironov, *On Significance of the Least Significant Bits for Differential Privacy*, CCS 2012).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.checks import refuse_non_finite
from stfed.encoding.noise import SCALARS
from stfed.encoding.plan import EncodingPlan
from stfed.encoding.quantize import TILE, FillRandom, Tile, widen
from stfed.encoding.rotation import tiles
from stfed.encoding.skellam import skellam
from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError

Flat: TypeAlias = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
"""(received, trained) by float tensor."""

log: logging.Logger = logging.getLogger("stfed")

MAX_ATTEMPTS = 100
"""Roundings before a party gives up. With the B2 of this package that takes a probability of exp(-50); another B2 may be impossible."""

_DIRECT_BITS = 23
"""Squares of numbers of a ring of so many bits, a tile of them, add up in 64 bits."""
_LOW_BITS = 20


class Noising:
    """The noise of one update. Secret, so it has no `repr` of its own values.

    Args:
        plan: with noise.
        metrics: the party's.

    Raises:
        LocalError: a bounded metric that is missing or no number, by name.
    """

    def __init__(self, plan: EncodingPlan, metrics: Mapping[str, object]) -> None:
        if plan.noise is None:
            raise LocalError("the plan has no noise")
        self._noise, self._sampler = plan.noise, skellam(plan.noise.share_variance)
        self._direct = plan.ring_bits <= _DIRECT_BITS
        self._metrics, self._shrink = metrics, 1.0
        self._norms: list[int] = []
        plan.noise.values(metrics, within=True)  # refused here rather than after everything has been measured

    def measure(self, floats: Flat) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Finds the norm of the change of all float tensors, and returns the bounded numbers as one more of them.

        A change that is not finite counts as none. To refuse it, as without noise, would be one bit about the data that no noise is on, and
        the coordinator chooses the model that training diverges from.

        Raises:
            LocalError: NaN or infinity in the received model, by tensor.
        """
        norm = _norm(floats)
        if norm == math.inf:
            log.warning("this party's update is not finite; it takes part with none")
        if norm > self._noise.l2_clip:
            self._shrink = self._noise.l2_clip / norm  # 0 for a norm that no double holds
        values = self._noise.values(self._metrics, within=self._shrink == 1.0)
        return {SCALARS: (np.zeros_like(values), values)} if values.size else {}

    def shrink(self, spec: TensorSpec, values: NDArray[np.float64]) -> None:
        """Scales a stretch of a tensor's change, in place, so that the whole has norm C at most."""
        if self._shrink != 1.0 and spec.name != SCALARS:
            np.multiply(values, self._shrink, out=values)
            if self._shrink == 0.0:
                values[:] = 0.0  # also what overflowed to infinity

    def begin(self) -> None:
        """A rounding of all stretches begins."""
        self._norms.clear()

    def add(self, words: NDArray[Any], fill_random: FillRandom) -> None:
        """Takes note of the norm of a stretch of integers, then adds the noise, in place. From any thread.

        Args:
            words: unsigned words whose two's complement is the number.
            fill_random: independent of all else.
        """
        numbers = words.view(f"i{words.itemsize}").astype(np.int64)
        self._norms.append(_norm_squared(numbers, self._direct))
        self._sampler.fill(numbers, fill_random)
        np.add(words, numbers.astype(words.dtype), out=words)

    def accepted(self) -> bool:
        """Whether the integers of all stretches together have the norm that the guarantee rests on."""
        return sum(self._norms) <= self._noise.norm_bound_squared


def never_accepted() -> LocalError:
    """What to raise after `MAX_ATTEMPTS`."""
    return LocalError(
        f"{MAX_ATTEMPTS} roundings of the update are all longer than the noise is made for",
        hint="the plan's norm_bound_squared is too small",
    )


def _norm_squared(numbers: NDArray[np.int64], direct: bool) -> int:
    """Exact. Of numbers below 2^39 in size, or 2^22 for a `direct` sum; no more than a tile of them."""
    if direct:
        return int(np.dot(numbers, numbers))
    high, low = numbers >> _LOW_BITS, numbers & ((1 << _LOW_BITS) - 1)
    return (int(np.dot(high, high)) << 2 * _LOW_BITS) + (int(np.dot(high, low)) << _LOW_BITS + 1) + int(np.dot(low, low))


def _norm(floats: Flat) -> float:
    """The L2 norm of all changes together, right to about 2^-40 of itself; infinity if something is not finite, or squares overflow."""
    tile, total = Tile(), 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for name, (received, trained) in floats.items():
            for part in tiles(received.size, TILE):
                values = tile.values[: part.stop - part.start]
                tile.subtract(trained[part], received[part], slice(0, values.size))
                square = float(np.dot(values, values))
                if not math.isfinite(square):
                    refuse_non_finite(name, "received", widen(received[part]))
                    return math.inf
                total += square
    return math.sqrt(total)
