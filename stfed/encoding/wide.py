"""Exact wide integers beside the ring words: their sum comes back whole, and nothing but their sum.

What must be exact (the weight, counters) or has an unknown range (metrics) is added in Z/2^(30 m), with m large enough that n numbers never
wrap. A number is m *limbs* of 30 bits, one 32-bit word each, and carries run through all limbs of a number before it leaves anybody: a
party masks the number as a whole. Summing the limbs as separate ring elements would be simpler and wrong: the coordinator would learn the
sum of each digit, and the carries between them tell how a sum is made up (three weights 1000 + 1000 + 24 and 1500 + 476 + 48 have one sum
and different digit sums).

Signed numbers are written with an offset. The pipeline sends w (v + V) for a value v in [-V, V] and a weight w, so that the offset of the
sum is V times the total weight, which the coordinator knows exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError

LIMB_BITS = 30
"""Short enough for the array kernel to multiply a limb by an element of up to 33 bits in 64-bit arithmetic."""
LIMB_MASK = (1 << LIMB_BITS) - 1


@dataclass(frozen=True, slots=True)
class WideFormat:
    """Integers in [0, `largest`], at most `parties` of them summed."""

    largest: int
    parties: int

    @property
    def limbs(self) -> int:
        """m, the words that a number takes: enough for the sum of all parties; none if the only number is zero."""
        return -(-(self.parties * self.largest).bit_length() // LIMB_BITS)

    def split(self, value: int) -> list[int]:
        """The limbs of one integer in [0, `largest`], least significant first."""
        assert 0 <= value <= self.largest, "the caller bounds what it encodes"
        return [value >> (LIMB_BITS * place) & LIMB_MASK for place in range(self.limbs)]

    def join(self, limbs: Sequence[int]) -> int:
        """The integer of these limbs."""
        return sum(int(limb) << (LIMB_BITS * place) for place, limb in enumerate(limbs))

    def split_products(self, elements: NDArray[np.uint64], factor: int, out: NDArray[np.uint32]) -> None:
        """Writes the limbs of `factor * elements[i]` into `out[:, i]`: schoolbook multiplication, one digit of `factor` at a time.

        Args:
            elements: shape (k,), each under 2^33.
            factor: not negative; every product is at most `largest`.
            out: shape (limbs, k).
        """
        bits, mask = np.uint64(LIMB_BITS), np.uint64(LIMB_MASK)
        over = np.zeros_like(elements)
        for place in range(self.limbs):
            over += elements * np.uint64(factor >> (LIMB_BITS * place) & LIMB_MASK)
            out[place] = over & mask
            over >>= bits
        assert not over.any(), "the caller bounds what it encodes"

    def join_products(self, limbs: NDArray[np.uint32]) -> NDArray[np.object_]:
        """`join` for each column, shape (limbs, k): an array of Python integers, shape (k,)."""
        total = np.zeros(limbs.shape[1], dtype=object)
        for place in range(self.limbs):
            total += limbs[place].astype(object) << (LIMB_BITS * place)
        return total


def carry(sums: NDArray[np.int64], groups: Iterable[tuple[int, int]]) -> NDArray[np.uint32]:
    """Limbs again from limb sums: each number reduced modulo 2^(30 limbs), with the carries, and borrows, run through.

    Args:
        sums: shape (words,), sums and differences of fewer than 2^32 limbs each.
        groups: (limbs, count) of the numbers, in order; a group lies limb by limb, as a matrix of shape (limbs, count).
    """
    out = np.empty(sums.shape, np.uint32)
    at = 0
    for limbs, count in groups:
        size = limbs * count
        group, reduced = sums[at : at + size].reshape(limbs, count), out[at : at + size].reshape(limbs, count)
        over = np.zeros(count, np.int64)
        for place in range(limbs):
            over += group[place]
            reduced[place] = over & LIMB_MASK
            over >>= LIMB_BITS  # arithmetic: a negative sum borrows
        at += size
    assert at == sums.size, "the groups cover the words"
    return out


def exact(value: object, what: str) -> Fraction:
    """The exact rational number of an int or a float.

    Raises:
        LocalError: not an int or float, or not finite. The message has `what` and never the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LocalError(f"{what} is a {type(value).__name__}", hint="it must be an int or a float")
    if isinstance(value, float) and not math.isfinite(value):  # an int may be too large to be asked
        raise LocalError(f"{what} is not a finite number")
    return Fraction(value)


def nearest(value: Fraction) -> int:
    """The nearest integer; of two equally near ones, the larger."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
