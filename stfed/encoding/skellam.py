"""Exact Skellam samples from uniform bytes: the noise of distributed differential privacy.

X is Skellam with variance V when it is the difference of two independent Poisson variables of mean V/2 each: P(X = k) = e^-V I_|k|(V) with
the modified Bessel function I. Sums of independent Skellam variables are Skellam, so shares of noise that parties draw apart have a known
distribution once they are added (Agarwal, Kairouz, Liu, *The Skellam Mechanism for Differentially Private Federated Learning*, NeurIPS
2021).

**What is exact.** Given uniform independent bytes, samples are independent, and P(X = k) is the number above for the rational V that the
float is: nothing is rounded and no tail is cut, so there are no low bits in which a sample betrays what it was added to (Mironov, *On
Significance of the Least Significant Bits for Differential Privacy*, CCS 2012). This is inversion with as many random bits as it takes
(Knuth and Yao, *The Complexity of Nonuniform Random Number Generation*, 1976; Devroye, *Non-Uniform Random Variate Generation*, 1986, XV).
With C(k) = P(|X| < k), a random sign and U uniform in [0, 1), X is the sign times the k for which C(k) <= U < C(k + 1). A word of 64 bits
has the sign in its highest bit, and the other 63 (all inverted if the sign is set) begin U. A table holds every C(k) between proven bounds,
two units of 2^-63 apart (`stfed.encoding.cumulative`). A word outside of all bounds has its sample. A word between two, or beyond the
table, takes 64 more bits at a time until integers of that precision tell; about K 2^-62 of all words do, K the number of values in the
table, and fewer than 2^-47 for the tail, so this may be slow. Where a table decides, the integers would decide the same without another
bit.

**Time.** Tables are read at places that depend on secret words; the words that the first table leaves open (one in 2000 at a variance of
16, half of them at the largest) take longer, and one that needs more bits takes milliseconds, or a second. Who times a tile of 65536
samples learns about how many of its words were open, which is about how many samples lie far out; who shares the processor's cache can
learn more. The coordinator and other parties see none of it but the moment at which a whole message arrives; whatever runs on a party's own
machine is trusted by that party (docs/limits.md, *The machines*).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.cumulative import cumulative, reach
from stfed.encoding.quantize import FillRandom
from stfed.errors import LocalError

MAX_VARIANCE = 2.0**34
"""Of one party's noise, in ring units squared: a deviation of 131072. Its tables take 12 MiB, and about a second to make."""

TILE = 1 << 16
"""Samples at a time: their words are as long as a segment of the keystream, and with the scratch about as much as a second-level cache."""

WORD_BYTES = 8
"""Random bytes a sample takes, in order, but for those that take more."""

_SIGN_BIT = 8 * WORD_BYTES - 1
_TAIL_BITS = 48
_OPEN = 1 << 30
# Steps to the right bound from the first one of a guide's cell, before a search: more than that are seldom, but in the tails.
_STEPS = 3


class Skellam:
    """A sampler for one variance. Nothing in it changes, so threads may share it.

    Attributes:
        variance: of a sample, whose mean is zero.

    Args:
        variance: more than 0, at most `MAX_VARIANCE`. The exact number that the float is.

    Raises:
        LocalError: another variance.
    """

    __slots__ = ("_bounds", "_guide", "_shift", "variance")

    def __init__(self, variance: float) -> None:
        if not 0 < variance <= MAX_VARIANCE:
            raise LocalError(
                f"noise of a variance of {variance} ring units squared cannot be drawn",
                hint=f"take more than 0 and at most {MAX_VARIANCE:.0f}",
            )
        self.variance: float = float(variance)
        self._bounds = _bounds(self.variance)
        # 256 KiB, 1 MiB or 4 MiB: with larger cells more words are left open, with smaller ones the guide leaves the cache
        bits = next((bits for bits, values in ((16, 1 << 12), (18, 1 << 16)) if len(self._bounds) <= values), 20)
        self._guide, self._shift = _guide(self._bounds, bits), np.uint64(8 * WORD_BYTES - bits)

    def __repr__(self) -> str:
        return f"Skellam({self.variance!r})"

    def fill(self, out: NDArray[np.int64], fill_random: FillRandom) -> None:
        """Overwrites `out` with independent samples.

        Args:
            out: one-dimensional.
            fill_random: asked for the words of each tile of 65536 samples at once (little-endian), and after a tile for one word at a time
                for those of its samples, in order, that need more.

        Raises:
            LocalError: an array of another type or shape.
        """
        if out.dtype != np.int64 or out.ndim != 1:
            raise LocalError(f"noise is drawn into an array of int64 in one dimension, not of {out.dtype} in {out.ndim}")
        room = min(out.size, TILE)
        words, cells, found = np.empty(room, "<u8"), np.empty(room, np.uint64), np.empty(room, np.int32)
        for start in range(0, out.size, TILE):
            part = out[start : start + TILE]
            word, cell, value = words[: part.size], cells[: part.size], found[: part.size]
            fill_random(word.view(np.uint8))
            np.right_shift(word, self._shift, out=cell)
            # "clip" spares a copy, nothing is out of range
            np.take(self._guide, cell.view(np.int64), out=value, mode="clip")
            part[:] = value
            left = np.flatnonzero(value <= -_OPEN // 2)
            part[left] = self._by_bounds(word.view("<i8")[left], value[left].astype(np.int64) + _OPEN, fill_random)

    def _by_bounds(self, words: NDArray[np.int64], low: NDArray[np.int64], fill_random: FillRandom) -> NDArray[np.int64]:
        """The samples of `words` by all their bits, or more: each has a magnitude of at least `low`, which is overwritten."""
        sign = words >> _SIGN_BIT
        uniform = words ^ sign
        for _ in range(_STEPS):
            low += self._bounds.take(low + 1, mode="clip") <= uniform
        far = np.flatnonzero(self._bounds.take(low + 1, mode="clip") <= uniform)
        low[far] = np.searchsorted(self._bounds, uniform[far], side="right") - 1
        unclear = (uniform - self._bounds[low] < 2) | (low == len(self._bounds) - 1)
        more = _words(fill_random)
        for index in np.flatnonzero(unclear).tolist():
            low[index] = magnitude(self.variance, int(uniform[index]), more)
        return (low ^ sign) - sign


@lru_cache(maxsize=4)
def skellam(variance: float) -> Skellam:
    """The sampler for this variance; the last four are kept. Arguments and errors as those of `Skellam`."""
    return Skellam(variance)


def magnitude(variance: float, uniform: int, more: Callable[[], int]) -> int:
    """The k with C(k) <= U < C(k + 1), in integers alone: what tables only anticipate.

    Args:
        variance: of the sample.
        uniform: the first 63 bits of U.
        more: gives the next 64 bits, whenever it is called.
    """
    bits = _SIGN_BIT
    while True:
        known = cumulative(variance, bits)
        # C(k) is at most the start of the cell that U is known to lie in, or at least its end
        least = max(bisect_right(known.sums, uniform * known.whole - known.slack >> bits) - 1, 0)
        if least + 1 < len(known.sums) and known.sums[least + 1] << bits >= (uniform + 1) * known.whole + known.slack:
            return least
        uniform, bits = uniform << 8 * WORD_BYTES | more(), bits + 8 * WORD_BYTES


def _words(fill_random: FillRandom) -> Callable[[], int]:
    """Draws one word at a time."""

    def draw() -> int:
        word = np.empty(WORD_BYTES, np.uint8)
        fill_random(word)
        return int.from_bytes(word.tobytes(), "little")

    return draw


def _bounds(variance: float) -> NDArray[np.int64]:
    """B_k with B_k <= 2^63 C(k) < B_k + 2, from k = 0 (-2, below everything) to the last, beyond which the table decides nothing."""
    known = cumulative(variance, _SIGN_BIT, last=reach(variance, _TAIL_BITS))
    bounds = np.array([((total << _SIGN_BIT) - known.slack) // known.whole for total in known.sums], np.int64)
    bounds[0] = -2
    return bounds


def _guide(bounds: NDArray[np.int64], bits: int) -> NDArray[np.int32]:
    """The sample by the first `bits` of a word, where they decide it; elsewhere the least magnitude that it may have, less 2^30."""
    shift = 8 * WORD_BYTES - bits
    first = np.arange(1 << bits - 1, dtype=np.int64) << shift
    low = np.searchsorted(bounds, first, side="right") - 1
    high = np.searchsorted(bounds, first + ((1 << shift) - 1), side="right") - 1
    decided = (low == high) & (first - bounds[low] >= 2) & (low < len(bounds) - 1)
    positive, negative = (np.where(decided, sign * low, low - _OPEN).astype(np.int32) for sign in (1, -1))
    # words with the sign bit come in the opposite order: their other bits are inverted
    return np.concatenate([positive, negative[::-1]])
