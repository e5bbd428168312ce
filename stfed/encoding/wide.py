"""Exact wide integers in a narrow ring: the sum of up to `parties` of them comes back digit by digit, with nothing lost.

A number is written in base 2^L, one digit (*limb*) a ring word, where L = b - ceil(log2 n). No limb sum wraps: n limbs add up to at most
n (2^L - 1) <= 2^b - n < 2^b. So the limb sums, each read as an integer and not as a residue, put together with their powers of 2^L, are
the sum of the numbers. This costs words, not precision: it carries what must be exact (the weight, counters) or has an unknown range
(metrics).

Signed numbers are written with an offset. The pipeline sends w (v + V) for a value v in [-V, V] and a weight w, so that the offset of the
sum is V times the total weight, which the coordinator knows exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError

MAX_LIMB_BITS = 30
"""Limbs stay this short so that the array kernel can multiply a limb by an element of up to 33 bits in 64-bit arithmetic."""
MAX_ELEMENT_BITS = 33


@dataclass(frozen=True, slots=True)
class WideFormat:
    """How integers in [0, `largest`] are cut into limbs, at most `parties` of them summed in words of `ring_bits` bits.

    Raises:
        LocalError: the ring leaves less than one bit a limb.
    """

    largest: int
    parties: int
    ring_bits: int

    def __post_init__(self) -> None:
        if self.limb_bits < 1:
            raise LocalError(
                f"ring_bits={self.ring_bits} leaves no bit a limb for {self.parties} parties",
                hint=f"set ring_bits to at least {self.ring_bits - self.limb_bits + 1}",
            )

    @property
    def limb_bits(self) -> int:
        """L."""
        return min(MAX_LIMB_BITS, self.ring_bits - (self.parties - 1).bit_length())

    @property
    def limbs(self) -> int:
        """Ring words a number takes; none if the only number is zero."""
        return -(-self.largest.bit_length() // self.limb_bits)

    def split(self, value: int) -> list[int]:
        """The limbs of one integer in [0, `largest`], least significant first."""
        assert 0 <= value <= self.largest, "the caller bounds what it encodes"
        mask = (1 << self.limb_bits) - 1
        return [value >> (self.limb_bits * place) & mask for place in range(self.limbs)]

    def join(self, sums: Sequence[int]) -> int:
        """The exact sum of the integers whose limb sums (mod 2^b) are given."""
        mask = (1 << self.ring_bits) - 1
        return sum((int(word) & mask) << (self.limb_bits * place) for place, word in enumerate(sums))

    def split_products(self, elements: NDArray[np.uint64], factor: int, out: NDArray[Any]) -> None:
        """Writes the limbs of `factor * elements[i]` into `out[:, i]`: schoolbook multiplication, one digit of `factor` at a time.

        Args:
            elements: shape (k,), each under 2^33.
            factor: not negative; every product is at most `largest`.
            out: ring words, shape (limbs, k).
        """
        bits, mask = np.uint64(self.limb_bits), np.uint64((1 << self.limb_bits) - 1)
        carry = np.zeros_like(elements)
        for place in range(self.limbs):
            carry += elements * np.uint64(factor >> (self.limb_bits * place) & int(mask))
            out[place] = carry & mask
            carry >>= bits
        assert not carry.any(), "the caller bounds what it encodes"

    def join_products(self, sums: NDArray[Any]) -> NDArray[np.object_]:
        """`join` for each column of `sums`, shape (limbs, k): an array of Python integers, shape (k,)."""
        mask = (1 << self.ring_bits) - 1
        total = np.zeros(sums.shape[1], dtype=object)
        for place in range(self.limbs):
            total += (sums[place].astype(object) & mask) << (self.limb_bits * place)
        return total


def fixed_point(value: object, fraction_bits: int, what: str) -> int:
    """`value` as the nearest multiple of 2^-`fraction_bits`, in those units; exact for integers of any size.

    Raises:
        LocalError: not an int or float, or not finite. The message has `what` and never the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LocalError(f"{what} is a {type(value).__name__}", hint="it must be an int or a float")
    if isinstance(value, int):
        return value << fraction_bits
    if not math.isfinite(value):
        raise LocalError(f"{what} is not a finite number")
    numerator, denominator = value.as_integer_ratio()
    return ((numerator << fraction_bits + 1) + denominator) // (2 * denominator)
