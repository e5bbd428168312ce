"""Functions that CKKS does not have, as polynomials on an interval: plain numbers, found before anything is encrypted.

The polynomial takes the function's values at the Chebyshev points, which is near the best of its degree (Trefethen, *Approximation Theory
and Approximation Practice*, SIAM 2013, chapters 4 and 16). Outside of the interval it is worthless: it leaves the function like its highest
power. So a fit says where it holds, and `polyval` refuses it for numbers that may lie elsewhere.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError, shown

_GRID = 10_000
_LEFTOVER = 2.0**-45
"""Smaller coefficients of Chebyshev's polynomials, relative to the largest, are rounding, as the even ones of an odd function, and would
cost products."""


@dataclass(frozen=True)
class Fit:
    """A polynomial that stands for a function on an interval.

    Attributes:
        coefficients: c_0, c_1 ... of c_0 + c_1 x + c_2 x^2 + ...
        low: the lower end of the interval.
        high: its upper end.
        error: the largest distance from the function, on a grid of 10,001 points.
    """

    coefficients: tuple[float, ...]
    low: float
    high: float
    error: float

    def scaled(self, factor: float) -> Fit:
        """The same function of numbers that are `factor` times smaller: for x / factor in place of x.

        Encrypted numbers up to 2 are evaluated with the smallest error. Make them so where it costs nothing, in plain weights before:
        `(rows @ (weights / 4)).polyval(sigmoid_coefficients(8, 7).scaled(4))`.

        Raises:
            LocalError: a factor that is not positive.
        """
        if not 0 < factor < np.inf:
            raise LocalError(f"a fit cannot be scaled by {shown(factor)}", hint="a positive number")
        coefficients = (number * factor**power for power, number in enumerate(self.coefficients))
        return Fit(tuple(coefficients), self.low / factor, self.high / factor, self.error)

    def check(self, bound: float) -> None:
        """Refuses numbers that may lie outside of the interval.

        Raises:
            LocalError: [-bound, bound] is no part of it.
        """
        if not (self.low <= -bound and bound <= self.high):
            raise LocalError(
                f"a fit on [{self.low:g}, {self.high:g}] for numbers that may lie anywhere in [{-bound:g}, {bound:g}]",
                hint="fit a larger interval, or state a smaller bound= when encrypting; fit.coefficients go with any numbers",
            )


def chebyshev(function: Callable[[NDArray[np.float64]], Any], low: float, high: float, degree: int) -> Fit:
    """Fits a polynomial to a function.

    Args:
        function: of a float64 array, element by element.
        low: the lower end of the interval.
        high: its upper end, above `low`.
        degree: of the polynomial. On encrypted numbers it takes ceil(log2(degree + 1)) multiplications one after the other.

    Raises:
        LocalError: no interval, no degree, or a function that is not finite on the interval.
    """
    low, high = float(low), float(high)
    if not -np.inf < low < high < np.inf:
        raise LocalError(f"no interval from {low:g} to {high:g}")
    try:
        number = -1 if isinstance(degree, bool) else operator.index(degree)
    except TypeError:
        number = -1
    if number < 0:
        raise LocalError(f"a polynomial of degree {shown(degree)}", hint="0, 1, 2 ...")
    grid = np.linspace(low, high, _GRID + 1)
    with np.errstate(all="ignore"):
        fit = np.polynomial.Chebyshev.interpolate(function, number, [low, high])
        fit.coef[np.abs(fit.coef) < _LEFTOVER * np.abs(fit.coef).max()] = 0.0
        coefficients = fit.convert(kind=np.polynomial.Polynomial).coef
        # Of the coefficients as they are: turning Chebyshev's polynomials into powers of x loses digits where the degree is large.
        error = float(np.abs(np.polynomial.Polynomial(coefficients)(grid) - function(grid)).max())
    if not np.isfinite(error):
        raise LocalError(f"the function is not finite everywhere on [{low:g}, {high:g}], so no polynomial is near it")
    return Fit(tuple(coefficients.tolist()), low, high, error)


def sigmoid_coefficients(bound: float, degree: int) -> Fit:
    """A polynomial for 1 / (1 + exp(-x)), the probability of a logistic model, on [-bound, bound].

    On [-8, 8] it is wrong by at most 0.12 with degree 3, 0.03 with degree 7 and 0.0014 with degree 15. Even degrees gain nothing.
    """
    return chebyshev(lambda x: (1 + np.tanh(x / 2)) / 2, -bound, bound, degree)
