"""Numbers of an answer on the ring, exact: whole numbers of a party, their sum over all parties, and what rounding to a unit costs.

An answer is a vector of whole numbers of at most 2^40: counts, and sums of scaled values in units of 2^-16. They travel as the changes of
one float64 tensor, divided by 2^40, with a clip of 1 in a ring of 64 bits. `EncodingPlan.error_bound` says how far the mean of n equal
parties then is from the truth, c/q + 2^-50 with q = floor((2^63 - 1) / n) - 1; a double rounds it by 2^-53 more. Times n and 2^40 that is
under 1/2 for up to 400 parties: the sum rounds to the true one. Integer tensors would not do: their mean is rounded to a whole number, and
they take 32 bits.

The error of a result has one source: each party rounds each of its own sums once, to a unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError, PeerError

NUMBER_BITS = 40
MAX_NUMBER = 1 << NUMBER_BITS
FRACTION_BITS = 16
"""A sum of scaled values counts in units of 2^-16. At 2^25 rows of a party, half of them at either end, it reaches 2^40."""
MAX_ROWS = 1 << (NUMBER_BITS - FRACTION_BITS + 1)
MAX_PARTIES = 400
CLIP, RING_BITS = 1.0, 64

_UNIT = 2.0**-FRACTION_BITS
_ROUNDED = (0.5 + 2.0**-13) * _UNIT  # to the nearest unit, of a double under 2^24 that is off by half of its last place itself
_ROW = 2.0**-50  # of a scaled value, its square or the product of two, by their few roundings


def units(values: NDArray[np.float64]) -> int:
    """The sum of scaled values, at most `MAX_ROWS` of them, to the nearest unit; of the sum itself no bit is lost."""
    return round(math.fsum(values.tolist()) / _UNIT)


def mean(total_units: int, values: int) -> Fraction:
    """The mean of scaled values that a sum over all parties stands for."""
    return Fraction(total_units, values << FRACTION_BITS)


def mean_error(parties: int, values: int) -> float:
    """By how much `mean` can be off the true mean of the scaled values."""
    return parties * _ROUNDED / values + _ROW


def to_tensor(numbers: Sequence[int], slots: int) -> NDArray[np.float64]:
    """A party's answer, with zeros up to `slots`.

    Raises:
        LocalError: a number over the limit, which takes more than `MAX_ROWS` rows.
    """
    if any(abs(number) > MAX_NUMBER for number in numbers):
        raise LocalError(f"an answer has a number over 2^{NUMBER_BITS}", hint=f"a party can have {MAX_ROWS} rows at most")
    tensor = np.zeros(slots, np.float64)
    tensor[: len(numbers)] = np.array(numbers, np.float64) / MAX_NUMBER  # exact: a power of two
    return tensor


def from_mean(mean_tensor: NDArray[np.float64], parties: int, error_bound: float, size: int) -> list[int]:
    """The sums over all parties.

    Args:
        mean_tensor: the decoded mean of the parties' tensors.
        parties: how many were summed.
        error_bound: of one number of the mean, `DecodedSum.error_bound`.
        size: how many numbers there are; the rest are zeros.

    Raises:
        LocalError: too many parties for an exact sum.
        PeerError: what should be zero is not.
    """
    if parties * MAX_NUMBER * (error_bound + 2.0**-53) >= 0.5:
        raise LocalError(f"sums over {parties} parties are not exact", hint=f"ask at most {MAX_PARTIES} parties at once")
    sums = [round(Fraction(value) * parties * MAX_NUMBER) for value in mean_tensor.tolist()]
    if any(sums[size:]):
        raise PeerError("the answer is longer than the questions, which no honest parties can produce")
    return sums[:size]
