"""Programs that evaluate polynomials: written down before anything is computed, and the same for all ciphertexts of a tensor.

So levels, room and the error of every intermediate result are known in advance, the cheapest program can be chosen, and a ciphertext goes
to another core once, not once a step. What the steps do is in `Arithmetic.evaluate`; why they are these, in `stfed.encrypted.polynomials`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.arithmetic import Step
from stfed.encrypted.bounds import division_error, dropped_error, factor_error, product_error, product_up, sum_up
from stfed.encrypted.checks import check_plain, check_room

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext
    from stfed.encrypted.tensor import EncryptedTensor

Floats: TypeAlias = NDArray[np.float64]

_RELINEARISING, _PRODUCT = 4.0, 0.7
"""What they cost, in units of a product with one plain number: it is which of two programs is faster that depends on them."""


@dataclass(frozen=True)
class Trace:
    """What is known of an intermediate result before it is computed: a `Bounded`."""

    context: EvaluationContext
    left: int
    bound: float
    error: float

    def __post_init__(self) -> None:
        check_room(self.context, self.left, self.bound + self.error)


class Program:
    """Steps for `Arithmetic.evaluate`: register 0 is x, and each step makes the next one.

    Args:
        tensor: the x.
        reach: B; 0 for powers of x. A power of two, so that a^n is exact.
        baby: the highest D_n that linear combinations are made of.

    Attributes:
        steps: as they stand.
        traces: what is known of each register.
        constant: what is still to be added to the last register.
        cost: of the steps, in units of a product with one plain number.
    """

    def __init__(self, tensor: EncryptedTensor, reach: float = 0.0, baby: int = 1) -> None:
        self._context = tensor.context
        self._half = reach / 2
        self._baby = baby
        self.steps: list[Step] = []
        self.traces: list[Trace] = [Trace(tensor.context, tensor.left, tensor.bound, tensor.error)]
        self.constant: float = 0.0
        self.cost: float = 0.0
        self._known = {1: 0}

    def term(self, degree: int) -> int:
        """The register of D_degree, with ceil(log2(degree)) levels behind it."""
        if degree not in self._known:
            bits = (degree - 1).bit_length()
            # Powers from the largest power of two below, which takes fewer products; the others so that D_(m-n) is 2 or x.
            small = degree >> 1 if self._half else degree - (1 << bits - 1)
            large = degree - small
            pair, weight = (self.term(large), self.term(small)), -(self._half ** (2 * small))
            rest = [(0, weight)] if large > small and weight else []
            number = 2 * weight if large == small else 0.0
            most = product_up(2.0, *[self._half] * degree) if self._half else math.inf
            self._known[degree] = self._step(self.traces[0].left - bits, [pair], rest, number, most)
        return self._known[degree]

    @np.errstate(all="ignore")  # floats that overflow fit into no ciphertext, and are refused as that
    def evaluate(self, numbers: Floats, left: int) -> None:
        """Writes down c_0 + c_1 x + c_2 x^2 + ... with `left` multiplications left, but for adding the number `constant` in the end."""
        sizes = numbers
        if self._half:
            degrees = np.arange(len(numbers))
            sizes = numbers * (2 * self._half) ** degrees
            numbers = np.polynomial.chebyshev.poly2cheb(sizes) / (2 * self._half**degrees)
            numbers[0] *= 2  # D_0 is 2
        self.constant = float(numbers[0])
        self._combined(np.where(np.arange(len(numbers)) > 0, numbers, 0.0), left)
        if self._half:  # the change of basis is in float64
            rounding = float(np.abs(sizes).sum()) * len(sizes) * 2.0**-50
            self.traces[-1] = replace(self.traces[-1], error=self.traces[-1].error + rounding)

    def _combined(self, numbers: Floats, left: int) -> int | float:
        """The register of c_0 + c_1 D_1 + c_2 D_2 + ... with exactly `left` multiplications left; a number, if there is no x in it.

        Args:
            numbers: the coefficients.
            left: how many x has, less ceil(log2(degree + 1)), or fewer.
        """
        numbers = np.trim_zeros(numbers, "b")
        if len(numbers) < 2:
            return float(numbers.sum())
        pairs, multiples = [], []
        while not self._small(len(numbers) - 1, left):
            half = 1 << (len(numbers) - 1).bit_length() - 1
            low, tail = numbers[:half].copy(), numbers[half:]
            # D_(half + j) = D_half D_j - a^j D_(half - j)
            j = np.arange(1, len(tail))
            low[half - j] -= tail[1:] * self._half ** (2 * j)
            high = self._combined(tail, left + 1)
            if isinstance(high, float):
                multiples.append((self.term(half), high))
            else:
                pairs.append((self.term(half), high))
            numbers = np.trim_zeros(low, "b")
        multiples += [(self.term(at), float(number)) for at, number in enumerate(numbers) if at and number]
        return self._step(left, pairs, multiples, float(numbers[0]) if len(numbers) else 0.0)

    def _small(self, degree: int, left: int) -> bool:
        """Whether D_n times numbers will do: D_degree has ceil(log2(degree)) levels behind it, and the number takes one."""
        return degree < 1 or (degree <= self._baby and left < self.traces[0].left - (degree - 1).bit_length())

    def _step(
        self, left: int, pairs: list[tuple[int, int]], multiples: list[tuple[int, float]], number: float, most: float = math.inf
    ) -> int:
        """Writes a step down. See `Arithmetic.evaluate`. `most` is a bound of its result that is known otherwise."""
        context, traces = self._context, self.traces
        bounds, errors = [abs(number)], [division_error(context, left, relinearised=bool(pairs))]
        if number:
            check_plain(context, left, abs(number))
            errors.append(context.noise.constant(number, context.scales[left]))
        for pair in pairs:
            a, b = (replace(traces[at], left=left + 1, error=dropped_error(traces[at], left + 1)) for at in pair)
            bounds.append(product_up(a.bound, b.bound))
            errors.append(product_error(a, b))
        for at, factor in multiples:
            check_plain(context, left + 1, abs(factor), context.factor_scale(traces[at].left, left))
            bounds.append(product_up(traces[at].bound, abs(factor)))
            errors.append(factor_error(traces[at], left, abs(factor), constant=True))
        self.steps.append((left, pairs, multiples, number))
        traces.append(Trace(context, left, min(sum_up(*bounds), most), math.fsum(errors)))
        drops = {at for pair in pairs for at in pair if traces[at].left > left + 1}
        self.cost += _RELINEARISING * bool(pairs) + _PRODUCT * len(pairs) + len(drops) + len(multiples)
        return len(self.steps)
