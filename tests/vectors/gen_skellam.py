"""Vectors of the Skellam sampler, from a second implementation: no numpy, no import of the package, only the definition.

P(X = k) is added up here from the probabilities of the two Poisson variables whose difference X is, in decimals of 100 digits. `generate()`
maps file names to contents; each file has a variance (as a hexadecimal float), the words that are drawn first, those that are drawn after
them, one by one, for samples that the first 64 bits leave open, and the samples. Some words are right at a bound, where one more or less
decides.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from decimal import Decimal, localcontext
from itertools import accumulate

VARIANCES = {"tiny": 1e-6, "hundredth": 0.01, "one": 1.0, "odd": 2.7182818284590451, "hundred": 100.0, "hundreds": 312.3}
DIGITS = 100
NEGLIGIBLE = Decimal(10) ** -70
PLAIN_WORDS = 24


def cumulative(variance: float) -> list[Decimal]:
    """C(k) = P(|X| < k) for k = 0, 1, ..., to well over 60 digits, until it is 1 to that many."""
    mean = Decimal(variance) / 2
    poisson = [(-mean).exp()]
    while len(poisson) < mean or poisson[-1] > NEGLIGIBLE:
        poisson.append(poisson[-1] * mean / len(poisson))

    def probability(k: int) -> Decimal:
        return sum((left * right for left, right in zip(poisson, poisson[k:], strict=False)), Decimal(0))

    terms, k = [probability(0)], 1
    while terms[-1] > NEGLIGIBLE:
        terms.append(2 * probability(k))
        k += 1
    return [Decimal(0), *accumulate(terms)]


def stream(name: str, count: int) -> list[int]:
    blocks = (hashlib.sha256(f"{name} {block}".encode()).digest() for block in range(count))
    return [int.from_bytes(block[:8], "little") for block in blocks]


def sample(bounds: list[Decimal], word: int, more: list[int]) -> tuple[int, int]:
    """The sample of a word, and how many of the words in `more` it took."""
    negative, bits = word >> 63, 63
    uniform = word ^ (1 << 64) - 1 if negative else word
    for taken, following in enumerate([*more, 0]):
        low, high = Decimal(uniform) / 2**bits, Decimal(uniform + 1) / 2**bits
        magnitude = bisect_right(bounds, low) - 1
        if magnitude + 1 < len(bounds) and high <= bounds[magnitude + 1]:
            return -magnitude if negative else magnitude, taken
        uniform, bits = uniform << 64 | following, bits + 64
    raise AssertionError("these words do not tell")


def generate() -> dict[str, bytes]:
    files = {}
    for name, variance in VARIANCES.items():
        with localcontext(prec=DIGITS):
            bounds = cumulative(variance)
            chosen: list[tuple[int, list[int]]] = [(word, []) for word in stream(name, PLAIN_WORDS)]
            chosen += [(0, []), ((1 << 64) - 1, [])]
            # at each of some bounds: the words beside the one that it lies in, then that one with the 64 bits on either side of it
            for k in sorted({1, 2, 3, len(bounds) // 8, len(bounds) // 4}):
                scaled = bounds[k] * 2**127
                if k < len(bounds) and scaled < (2**63 - 2) * 2**64:
                    within, rest = divmod(math.floor(scaled), 1 << 64)
                    chosen += [(within - 1, []), (within, [rest - 1]), (within, [rest + 1]), (within + 1, [])]
                    chosen += [(word ^ (1 << 64) - 1, more) for word, more in chosen[-4:]]
            samples = []
            for word, more in chosen:
                found, taken = sample(bounds, word, more)
                assert taken == len(more)
                samples.append(found)
        case = {
            "variance": variance.hex(),
            "words": [f"{word:016x}" for word, _ in chosen],
            "more": [f"{word:016x}" for _, more in chosen for word in more],
            "samples": samples,
        }
        files[f"skellam/{name}.json"] = (json.dumps(case, indent=1) + "\n").encode()
    return files
