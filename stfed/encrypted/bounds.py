"""How the bounds and errors of operands make those of a result.

Bounds of exact results are rounded up, so that they hold. Errors come from the estimates of `stfed.encrypted.noise`, which have more room
than a rounding of a float; they add up as if all of them pointed the same way.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext


class Bounded(Protocol):
    """What an `EncryptedTensor` says of its numbers, and what is known of an intermediate result before it is computed."""

    @property
    def context(self) -> EvaluationContext:
        """The keys."""

    @property
    def left(self) -> int:
        """How many multiplications are left."""

    @property
    def bound(self) -> float:
        """Of the absolute value."""

    @property
    def error(self) -> float:
        """Of the distance from the exact result."""


def up(exact: Fraction) -> float:
    """The smallest float that is not below. Infinite if there is none."""
    try:
        nearest = float(exact)
    except OverflowError:
        return math.inf
    return nearest if nearest >= exact else math.nextafter(nearest, math.inf)


def sum_up(*bounds: float) -> float:
    """The sum of bounds, rounded up."""
    return up(sum(map(Fraction, bounds), Fraction())) if all(map(math.isfinite, bounds)) else math.inf


def product_up(*bounds: float) -> float:
    """The product of bounds, rounded up."""
    return up(math.prod(map(Fraction, bounds), start=Fraction(1))) if all(map(math.isfinite, bounds)) else math.inf


def factor_error(a: Bounded, left: int, size: float, *, constant: bool) -> float:
    """Of a product with plain numbers up to `size` that ends with `left` multiplications left, but for the division by a modulus.

    Args:
        a: the encrypted operand.
        left: of the result.
        size: no plain number is larger.
        constant: whether the plain numbers are the same in all slots of each ciphertext.
    """
    scale = a.context.factor_scale(a.left, left)
    of_factor = a.context.noise.constant(size, scale) if constant else a.context.noise.encoding(size, scale)
    return size * a.error + (a.bound + a.error) * of_factor


def product_error(a: Bounded, b: Bounded) -> float:
    """Of a product of ciphertexts, but for relinearisation and division."""
    return a.bound * b.error + b.bound * a.error + a.error * b.error


def division_error(context: EvaluationContext, left: int, *, relinearised: bool) -> float:
    """Of the division by a modulus after which `left` multiplications are left, and of the relinearisation before it."""
    error = context.noise.rescaling(context.scales[left])
    above = min(left + 1, context.parameters.depth)  # without a level, what is planned is refused for that afterwards
    return error + context.noise.switching(above, context.scales[above] ** 2) if relinearised else error


def dropped_error(a: Bounded, left: int) -> float:
    """Of the same numbers with fewer multiplications left."""
    return a.error if left == a.left else factor_error(a, left, 1.0, constant=True) + division_error(a.context, left, relinearised=False)
