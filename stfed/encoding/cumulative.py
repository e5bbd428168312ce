"""How Skellam noise is distributed, in integers between proven bounds: C(k) = P(|X| < k), to as many bits as are asked for.

f_k = P(X = k) = e^-V I_k(V), with the modified Bessel function I and the variance V, satisfies f_(k-1) = f_(k+1) + c_k f_k with c_k = 2k /
V. That is stable downwards (Miller's algorithm): take T = 2^b and M with P(X >= M) <= 1 / T, start with a_(M+1) = a_M = T, and go on with
a_(k-1) = a_(k+1) + floor(c_k a_k), all integers. Let A_k be the sum of a_|j| over |j| < k, and S = A_(M+1). Then

    |C(k) - A_k / S| <= 3 (M + 1)^2 / T    for 0 <= k <= M + 1.

Proof. Let D_k = a_k f_(k+1) - a_(k+1) f_k. The recurrences give D_(k-1) = -D_k - e_k f_k, where 0 <= e_k < 1 is what the floor took away.
As |D_M| = T |f_(M+1) - f_M| <= 1 and f_1 + f_2 + ... <= 1/2, all |D_k| <= 3/2. With r = f_0 / a_0, adding up f_(j+1) / a_(j+1) - f_j / a_j
= D_j / (a_j a_(j+1)) gives |f_k - r a_k| <= 3/2 sum_(j<k) a_k / (a_j a_(j+1)) <= 3/2 k / T: of a_j and a_(j+1), one has an index of the
parity of k and is at least a_k, because a_(k-1) >= a_(k+1), and the other is at least T. Adding up again, |C(k) - r A_k| <= 3/2 M (M + 1) /
T, and in the same way |1 - r S| <= 3/2 M (M + 1) / T + 2 / T with the tail. Both errors together, the second of them times A_k / S <= 1,
are under 3 (M + 1)^2 / T.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

GUARD_BITS = 64
"""How far T goes beyond the bits that are asked for. M is under 2^21 for variances up to 2^34 and 127 bits, which leaves 20 of them."""


@dataclass(frozen=True, slots=True, repr=False)
class Cumulative:
    """C(k) from k = 0 on: 2^bits |whole C(k) - sums[k]| <= slack.

    Attributes:
        bits: of precision.
        sums: A_k.
        whole: S.
        slack: less than 2^-20 `whole` at 63 bits and variances up to 2^34.
    """

    bits: int
    sums: list[int]
    whole: int
    slack: int


def cumulative(variance: float, bits: int, last: int | None = None) -> Cumulative:
    """C(0), C(1) and so on, in M steps of integers of about 2 (`bits` + 64) bits: up to a second at the largest variances.

    Args:
        variance: positive; the rational number that the float is.
        bits: of precision.
        last: where to stop, at most `reach(variance, bits)`; None for all that there is.
    """
    numerator, denominator = variance.as_integer_ratio()
    twice, most = 2 * denominator, reach(variance, bits + GUARD_BITS)

    def terms() -> Iterator[int]:
        above = here = 1 << bits + GUARD_BITS
        for k in range(most, 0, -1):
            yield here
            above, here = here, above + k * twice * here // numerator
        yield here

    # From the far end. What lies beyond `last` is summed and not kept.
    tails = list(islice(accumulate(terms(), initial=0), 0 if last is None else most + 1 - last, None))
    whole = tails.pop() + tails[-1]
    sums = [0, *(whole - 2 * tail for tail in reversed(tails))]
    return Cumulative(bits, sums, whole, (3 * (most + 1) ** 2 * whole >> GUARD_BITS) + 1)


def reach(variance: float, bits: int) -> int:
    """An M with P(X >= M) <= 2^-`bits`, with a factor of e to spare, far more than the roundings of `tail_log2` amount to."""
    return smallest(lambda most: tail_log2(variance, most) <= -bits - 1 / math.log(2))


def tail_log2(variance: float, most: float) -> float:
    """log2 of a bound on P(X >= `most`), which is positive.

    Chernoff's bound with the moment generating function exp(V (cosh t - 1)) at its best t = asinh(M / V), where V cosh t is
    sqrt(V^2 + M^2).
    """
    return (most * most / (math.hypot(variance, most) + variance) - most * math.asinh(most / variance)) / math.log(2)


def smallest(enough: Callable[[int], bool]) -> int:
    """The smallest positive number that is enough, where all larger ones are, too."""
    high = 1
    while not enough(high):
        high *= 2
    return bisect_left(range(high), True, lo=high // 2, key=enough)
