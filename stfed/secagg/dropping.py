"""How likely a round fails where every party drops by itself with some probability, instead of at most a planned number of them.

A round needs t share-holders that stay for everybody's secret, and as many parties as the floor and, in malicious mode, the quorum ask
for. Given that d parties drop, which ones is up to chance, so the d are spread over anybody's share-holders hypergeometrically, and the
union bound over the n parties is the one that the parameters are chosen by (`Conditions.log2_correctness`):

    Pr[fails] <= sum over d of Bin(n, p)(d) * min(1, n * Pr[fewer than t of k share-holders are among the n - 1 - d others that stay]),

with 1 in place of the minimum where n - d are too few. On the complete graph every term is 0 or 1 and the sum is exact, a tail of the
binomial. A party that drops at whatever step counts as one that has dealt its shares and is gone after it, which is the worst.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import inf, log2

from stfed.errors import LocalError
from stfed.secagg.params import Parameters
from stfed.secagg.policy import Policy
from stfed.secagg.tails import log2_binomial, log2_lower_tail

_NEGLIGIBLE_BITS = 80.0
"""Terms fall off on either side of the largest one of a range, and there are fewer than 2^24 of them."""


def log2_failure(parameters: Parameters, drop_rate: Fraction, floor: int) -> float:
    """log2 of the probability that a round of these parameters fails: exact on the complete graph, elsewhere an upper bound.

    Args:
        parameters: of the cohort.
        drop_rate: probability that a party drops, in [0, 1], each independently of the others.
        floor: the fewest parties that a sum may have (`Policy.floor`).

    Returns:
        -inf where it cannot fail.

    Raises:
        LocalError: the drop rate is no probability.
    """
    if not 0 <= drop_rate <= 1:
        raise LocalError(f"a drop rate of {drop_rate} is no probability", hint="use 0 to 1, such as 0.02")
    if drop_rate in (0, 1):
        return _fails(parameters, floor, parameters.n if drop_rate else 0)
    n, rate = parameters.n, float(drop_rate)
    if rate in (0.0, 1.0):
        raise LocalError(f"a drop rate of {drop_rate} is closer to {rate:g} than a double can tell", hint=f"use {rate:g}")
    stays, goes = log2(1 - drop_rate), log2(drop_rate)

    @cache
    def term(dropped: int) -> float:
        return _fails(parameters, floor, dropped) + log2_binomial(n, dropped) + dropped * goes + (n - dropped) * stays

    # Impossible with fewer drops than `first`, certain from `certain` on, where the terms jump: two ranges, each with a peak of its own.
    certain = n - least_parties(parameters, floor) + 1
    first = max(0, min(parameters.k - parameters.t + 1, certain))
    return min(0.0, _log2_sum(_log2_range(term, first, certain - 1), _log2_range(term, certain, n)))


def _log2_range(term: Callable[[int], float], first: int, last: int) -> float:
    """log2 of the sum of 2^term(d) over a range in which the terms are log-concave: one peak, found by bisection on its slope."""
    if first > last:
        return -inf
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if term(middle) < term(middle + 1) else (low, middle)
    peak = total = term(low)
    for step in (-1, 1):
        at = low + step
        while first <= at <= last and term(at) > peak - _NEGLIGIBLE_BITS:
            total = _log2_sum(total, term(at))
            at += step
    return total


def default_floor(parameters: Parameters) -> int:
    """The fewest parties that a sum may have where the parties have the default policy (`Policy.floor`)."""
    policy = Policy(mode=parameters.mode)
    least = max(policy.min_survivors, parameters.corrupt + policy.honest_floor)
    return least if parameters.graph == "complete" else max(least, parameters.min_survivors)


def least_parties(parameters: Parameters, floor: int) -> int:
    """With fewer parties than this left, a round cannot finish, whoever they are."""
    return max(floor, parameters.t, parameters.quorum or 0)


def _fails(parameters: Parameters, floor: int, dropped: int) -> float:
    """log2 of the probability that the round fails, at most, if so many drop."""
    n, k, t = parameters.n, parameters.k, parameters.t
    if n - dropped < least_parties(parameters, floor):
        return 0.0
    return min(0.0, log2(n) + log2_lower_tail(n - 1, n - 1 - dropped, k, t - 1))


def _log2_sum(one: float, other: float) -> float:
    """log2(2^one + 2^other)."""
    larger, smaller = max(one, other), min(one, other)
    return larger if smaller == -inf else larger + log2(1 + 2.0 ** (smaller - larger))
