"""How long a vector can be after stochastic rounding: the bound on which both the redraw of a party and the privacy proof stand.

A real vector y of d coordinates and 2-norm at most c = `l2_clip` * `scale` becomes an integer vector R with R_i = floor(y_i) or
floor(y_i) + 1 and E R_i = y_i. Then ||R||^2 is at most (Kairouz, Liu, Steinke, *The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation*, ICML 2021, section 4)

    (c + sqrt d)^2                                                        always, since ||R - y|| <= sqrt d;
    c^2 + d / 4 + sqrt(2 ln(1 / beta)) (c + sqrt(d) / 2)                  with probability at least 1 - beta.

The second line in full: E ||R||^2 = ||y||^2 + sum p_i (1 - p_i) <= c^2 + d / 4 with p_i the fractional parts. R_i^2 takes two values that
differ by w_i = |2 floor(y_i) + 1|, and ||w|| = 2 ||floor(y) + 1/2|| <= 2 (c + sqrt(d) / 2). Hoeffding: ||R||^2 exceeds its mean by u with
probability at most exp(-2 u^2 / ||w||^2), which is at most beta for u = sqrt(2 ln(1 / beta)) (c + sqrt(d) / 2).

A party draws again until its vector is within the bound, so that it holds for every vector that is noised, whatever floating point did
before. Privacy rests on that comparison of integers alone; what this function promises is that few draws are thrown away.
"""

from __future__ import annotations

from fractions import Fraction
from math import exp, isfinite, isqrt, log, sqrt

from stfed.errors import LocalError, shown

BETA = exp(-0.5)
"""The share of draws that may be thrown away, at most, if nothing else is asked for: the one for which sqrt(2 ln(1 / beta)) is 1."""

_ROOT_BITS = 64  # of the square root's fraction; twice c times 2^-64 is what it can add to the bound


def norm_bound_squared(l2_clip: float, scale: float, coordinates: int, beta: float = BETA) -> int:
    """The largest ||R||^2 that is kept: the smaller of the two bounds, rounded down to the integer that it means for integers.

    Rational arithmetic on the two doubles; square roots are rounded up. With the default beta the result is the same on every machine.

    Args:
        l2_clip: C, in units of the model.
        scale: s, ring units in one unit of the model.
        coordinates: d.
        beta: the share of draws that may be thrown away, at most; 0 < beta < 1.

    Returns:
        D2^2 in squared ring units, at least 1.

    Raises:
        LocalError: an argument is out of range.
    """
    for name, value in (("l2_clip", l2_clip), ("scale", scale)):
        if not isfinite(value) or value <= 0:
            raise LocalError(f"{name} is {shown(value)}, it must be a positive number")
    if coordinates < 1:
        raise LocalError(f"a vector of {coordinates} coordinates has nothing to round")
    if not 0 < beta < 1:
        raise LocalError(f"beta is {shown(beta)}, it must lie between 0 and 1")
    reach, root = Fraction(l2_clip) * Fraction(scale), _root(coordinates)
    likely = reach**2 + Fraction(coordinates, 4) + _deviations(beta) * (reach + root / 2)
    bound = min((reach + root) ** 2, likely)
    return max(1, bound.numerator // bound.denominator)


def _root(n: int) -> Fraction:
    """The square root, rounded up."""
    scaled = n << 2 * _ROOT_BITS
    root = isqrt(scaled)
    return Fraction(root + (root * root < scaled), 1 << _ROOT_BITS)


def _deviations(beta: float) -> Fraction:
    """sqrt(2 ln(1 / beta)), rounded up; 1 for `BETA`. The C library's logarithm and root are right to a few units in the last place."""
    return Fraction(1) if beta == BETA else Fraction(sqrt(-2 * log(beta))) * (1 + Fraction(1, 1 << 48))
