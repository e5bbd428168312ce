"""Hypergeometric tails as log2 probabilities, and the two graph bounds that are built from them.

A protocol error of 2^-40 is far below what a float64 can subtract from 1, so nothing here forms `1 - p`: a tail is its largest term
(through `lgamma`) times a sum of positive ratios. Every log2 returned is within `ERROR_BITS` of the exact value for populations up to
`MAX_POPULATION`; measured against exact rationals the error is below 1e-10 bits up to n = 10^4 and below 1e-8 bits at n = 10^6 (what
`lgamma` loses at arguments of that size). Whoever compares one with a security level adds `ERROR_BITS` to it first, and so errs on the
safe side.

The bounds follow Bell, Bonawitz, Gascón, Lepoint, Raykova, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead"
(CCS 2020): `log2_disconnection` for a ring whose bad places are random, `honest_floor` for a random graph whose drops are chosen.
"""

from __future__ import annotations

from math import inf, lgamma, log, log2

import numpy as np
from numpy.typing import NDArray

ERROR_BITS = 1e-6
MAX_POPULATION = 1 << 24
_LN2 = log(2)
_NEGLIGIBLE = 2.0**-80  # of the largest term; fewer than 2^24 terms follow, so what is cut off is below 2^-56 of the sum


def log2_binomial(n: int, k: int) -> float:
    """log2 of the number of k-subsets of n things; -inf where there are none."""
    if k < 0 or k > n:
        return -inf
    return (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / _LN2


def log2_upper_tail(population: int, marked: int, draws: int, least: int) -> float:
    """log2 Pr[X >= least], X being the marked ones among `draws` drawn without replacement.

    Exactly 0.0 where the event is certain and exactly -inf where it is impossible, so that a complete graph (everybody is drawn) is
    decided without rounding.

    Args:
        population: how many there are, at most `MAX_POPULATION`.
        marked: how many of them are marked, 0..population.
        draws: how many are drawn, 0..population.
        least: the smallest number of marked ones that counts.
    """
    unmarked = population - marked
    lowest, highest = max(0, draws - unmarked), min(draws, marked)
    if least <= lowest:
        return 0.0
    if least > highest:
        return -inf
    mode = (draws + 1) * (marked + 1) // (population + 2)
    anchor = max(least, mode)  # no term of the tail is larger, and terms only shrink away from it
    total = term = 1.0
    x = anchor
    while x < highest and term > _NEGLIGIBLE:
        term *= (marked - x) * (draws - x) / ((x + 1) * (unmarked - draws + x + 1))
        total += term
        x += 1
    x, term = anchor, 1.0
    while x > least and term > _NEGLIGIBLE:
        term *= x * (unmarked - draws + x) / ((marked - x + 1) * (draws - x + 1))
        total += term
        x -= 1
    largest = log2_binomial(marked, anchor) + log2_binomial(unmarked, draws - anchor) - log2_binomial(population, draws)
    return min(0.0, largest + log2(total))


def log2_lower_tail(population: int, marked: int, draws: int, most: int) -> float:
    """log2 Pr[X <= most]: at least `draws - most` of the drawn are unmarked."""
    return log2_upper_tail(population, population - marked, draws, draws - most)


def log2_disconnection(n: int, k: int, bad: int) -> float:
    """log2 of a bound on Pr[the ring falls apart], when `bad` of its n places, chosen at random, are gone.

    In a Harary graph everybody is joined to the k/2 on either side, so the rest is cut in two only by two disjoint runs of k/2 bad
    places each with somebody left between them on both sides. There are n(n-k-1)/2 such pairs of runs, and each is bad throughout with
    probability C(n-k, bad-k) / C(n, bad): a union bound. It falls with k.

    Args:
        n: places on the ring.
        k: degree, even and below n - 1, or n - 1 for the complete graph, which cannot fall apart.
        bad: corrupt and dropped together, 0..n.
    """
    if k >= n - 1 or k > bad:
        return -inf
    all_bad = (lgamma(n - k + 1) - lgamma(n + 1) + lgamma(bad + 1) - lgamma(bad - k + 1)) / _LN2
    return min(0.0, log2(n) + log2(n - k - 1) - 1 + all_bad)


def honest_floor(n: int, corrupt: int, k: int, t: int, sigma: int) -> int:
    """The alpha bound s*: a revealed sum has more than s* honest inputs, but for a probability of 2^-(sigma+1).

    This holds against a coordinator that chooses who drops, when every party draws its k share-holders at random by itself and all honest
    parties agree on one survivor set. To reveal the sum over an honest set S alone, every member of S needs t of its share-holders in
    S or among the corrupt. A union bound over all S of a size, and over the sizes, gives s* as the largest s with

        sum_{r=1..s} C(n - corrupt, r) * Pr[Hyp(n - 1, r - 1 + corrupt, k) >= t]^r  <=  2^-(sigma+1).

    On the complete graph (k = n - 1) the tail is 0 or 1 and s* = t - corrupt.

    Args:
        n: cohort, at most `MAX_POPULATION`; time and memory grow with it (0.4 s and 60 MB at 10^6).
        corrupt: corrupt parties in it, below n.
        k: share-holders of a party.
        t: shares that reconstruct.
        sigma: bits of security, of which this event may use one half.
    """
    honest = n - corrupt
    log_factorial: NDArray[np.float64] = np.fromiter(map(lgamma, range(1, n + 2)), np.float64, n + 1)

    def log_binomial(top: NDArray[np.int64], bottom: int) -> NDArray[np.float64]:
        inside = top >= bottom
        rest = np.where(inside, top - bottom, 0)
        value = log_factorial[top] - log_factorial[bottom] - log_factorial[rest]
        return np.where(inside, value, -inf)

    # One more marked item raises the tail by Pr[it is drawn, and exactly t - 1 of the marked before it]: all tails in one pass.
    marked = np.arange(corrupt, n - 1, dtype=np.int64)
    drawn_from = log_factorial[n - 1] - log_factorial[k] - log_factorial[n - 1 - k]
    step = log_binomial(marked, t - 1) + log_binomial(n - 2 - marked, k - t) - drawn_from
    tails = np.logaddexp.accumulate(np.concatenate(([log2_upper_tail(n - 1, corrupt, k, t) * _LN2], step)))
    size = np.arange(1, honest + 1, dtype=np.int64)
    subsets = log_factorial[honest] - log_factorial[size] - log_factorial[honest - size]
    with_error = subsets + size * np.minimum(0.0, tails + ERROR_BITS * _LN2)
    revealed = np.logaddexp.accumulate(with_error) / _LN2
    return int(np.searchsorted(revealed, -(sigma + 1), side="right"))
