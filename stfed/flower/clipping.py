"""`AdaptiveClip`: a clip that nobody has to guess, for encodings without differential privacy (ADR 0029).

    SecureAggregation(FedAvg(), value_bits=8, clip=AdaptiveClip(initial=1.0))

Every sum says how many coordinates of all parties together were cut to the clip: a secure sum of one bit for each coordinate, like the sum
of bits from which Andrew, Thakkar, McMahan and Ramaswamy learn a quantile (*Differentially Private Learning with Adaptive Clipping*,
NeurIPS 2021). Here the quantile is that of coordinates, and very high: one in 10,000 is to be cut. Their rule, C <- C exp(-eta (share -
target)), comes down from a clip that is too large by eta times one in 10,000 a round. So this is a search, over powers of two only:

- *Too many cut*: up by as many octaves as it takes a normal distribution to get from this share to the target. Rotated coordinates are
  nearly normal, so that two rounds make good for a clip that is a hundred times too small; heavier tails take a round or two more.
- *Few or none cut*: down by one octave, then by two at a time until too many are cut, and by one at a time ever after.
- The clips that cut too many and those that do not are a bracket, and no clip outside of it is tried again until it is old: after some calm
  rounds, in which updates may have become smaller, one octave below is tried, and each try that fails doubles the wait. So nothing swings.

Half an octave away from the best clip costs half a bit of precision. That the clip is a power of two is what parties insist on
(`stfed.secagg.policy.Policy.clip_moves`): a clip that moves asks a question of the updates each time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist

from stfed.encoding.plan import CLIP_RANGE
from stfed.errors import LocalError
from stfed.flower.journal import Journal

log: logging.Logger = logging.getLogger("stfed")

_PATIENCE, _MOST_PATIENCE = 4, 16
"""Calm rounds after which a smaller clip is tried again, at first and at last."""
_LONGEST_FALL, _LONGEST_RISE = 2, 8
"""Octaves at once. A fall that goes too far costs a round that is clipped, a rise that does costs a few bits of one round."""
_RIGHT = 16
"""From a 16th of the target on, a clip is right: an octave lower, more than the target would be cut where tails are those of |x|^-4 or
lighter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveClip:
    """How the clip of one coordinate is to follow the updates of a run. All clips are powers of two.

    Attributes:
        initial: of the first round, in units of the model; the next power of two that is no smaller is taken.
        target: share of all coordinates of all parties that may be clipped in a round, below one half; 0 for none. The default is good for
            8 bits of value; fewer bits bear more, and with 10 and more less is a little better (docs/precision.md).
        low: the clip is never smaller.
        high: nor larger.

    Raises:
        LocalError: a number out of its range.
    """

    initial: float = 1.0
    target: float = 1e-4
    low: float = 2.0**-9
    high: float = 2.0**19

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise LocalError(f"{name} of the adaptive clip is {value!r}, it must be a number")
        if not 0 <= self.target < 0.5:
            raise LocalError(f"target is {self.target!r}, it must be a share of coordinates below one half", hint="1e-4 suits 8 bits")
        if not CLIP_RANGE[0] <= self.low <= self.initial <= self.high <= CLIP_RANGE[1]:
            raise LocalError(
                f"the adaptive clip is between low={self.low!r} and high={self.high!r} and begins with initial={self.initial!r}",
                hint="initial is one of them or between them, and all are between 2^-96 and 2^96",
            )
        if self.bottom > self.top:
            raise LocalError(f"there is no power of two from {self.low!r} to {self.high!r}", hint="lower low, or raise high")

    @property
    def bottom(self) -> int:
        """log2 of the smallest clip."""
        mantissa, exponent = math.frexp(self.low)
        return exponent - (mantissa == 0.5)

    @property
    def top(self) -> int:
        """log2 of the largest."""
        return math.frexp(self.high)[1] - 1

    def begin(self) -> Search:
        """Before the first sum."""
        mantissa, exponent = math.frexp(self.initial)
        return self.held(Search(exponent - (mantissa == 0.5)))

    def held(self, search: Search) -> Search:
        """The same search within `low` and `high`."""
        return replace(search, at=min(max(search.at, self.bottom), self.top))

    def next(self, search: Search, clipped: int, coordinates: int) -> Search:
        """After a sum.

        Args:
            search: with the clip of that sum.
            clipped: how many coordinates were, of all parties.
            coordinates: of how many.
        """
        if coordinates < 1:
            return search
        most = self.target * coordinates
        return self.held(search.rise(self._octaves(clipped, coordinates)) if clipped > most else search.fall(clipped >= most / _RIGHT > 0))

    def _octaves(self, clipped: int, coordinates: int) -> int:
        """From a clip beyond which so many of so many normal numbers lie to one beyond which only the target's share does."""
        normal, least = NormalDist(), 0.5 / coordinates
        wanted = normal.inv_cdf(max(self.target, least) / 2)
        found = normal.inv_cdf(min(clipped / coordinates, 1 - least) / 2)
        return min(max(math.ceil(math.log2(wanted / found)), 1), _LONGEST_RISE)


@dataclass(frozen=True, slots=True)
class Search:
    """Where the search for the clip is, in octaves.

    Attributes:
        at: log2 of the clip of the next sum.
        small: log2 of the largest clip that is known, or was found likely, to be too small; None if none is, or it is too long ago.
        fits: log2 of the smallest clip that is known to cut few enough.
        calm: sums in a row in which this clip fitted and stayed.
        fell: by how many octaves the clip was lowered last, where few enough were cut before.
        rose: by how many it was raised last, where too many were.
        advised: how many seemed to be enough then.
        patience: how many calm sums it takes to try a smaller clip again.
        bounded: whether any clip was too small so far. From then on it is lowered by one octave at a time.
    """

    at: int
    small: int | None = None
    fits: int | None = None
    calm: int = 0
    fell: int = 0
    rose: int = 0
    advised: int = 0
    patience: int = _PATIENCE
    bounded: bool = False

    @property
    def clip(self) -> float:
        """A power of two."""
        return math.ldexp(1.0, self.at)

    def rise(self, octaves: int) -> Search:
        """Too many were cut; by how many octaves the clip seems too small.

        Twice as many as the last time if that seemed enough and nothing is better now: where most coordinates stay as they are, the share
        that is cut says little about how far to go.
        """
        step = octaves if octaves < self.advised else min(max(octaves, 2 * self.rose), _LONGEST_RISE)
        to, small, patience = self.at + step, self.at + octaves - 1, self.patience
        fits = None if self.fits is None or self.fits <= self.at else self.fits
        if fits is not None:
            to, patience = min(to, fits), min(2 * patience, _MOST_PATIENCE)
        return Search(to, min(small, to - 1), fits, rose=step, advised=octaves, patience=patience, bounded=True)

    def fall(self, right: bool) -> Search:
        """Few enough were cut; whether only just."""
        small = None if self.small is None or self.small >= self.at or self.calm >= self.patience else self.small
        if right or small == self.at - 1:
            return Search(self.at, small, self.at, self.calm + 1, patience=self.patience, bounded=self.bounded)
        step = 1 if self.bounded else min(self.fell + 1, _LONGEST_FALL)
        to = self.at - step if small is None else max(self.at - step, small + 1)
        return Search(to, small, self.at, fell=self.at - to, patience=self.patience, bounded=self.bounded)


class Clipping:
    """The clip of one run, round by round, kept in the journal: a coordinator that starts again goes on where it was.

    Args:
        asked: how it is to follow.
        journal: keeps what was learnt.
        run: Flower's run id.
    """

    def __init__(self, asked: AdaptiveClip, journal: Journal, run: int) -> None:
        self._asked, self._journal, self._run = asked, journal, run
        kept = journal.search(run)
        self._search = asked.begin() if kept is None else asked.held(Search(**kept))
        if kept is not None:
            log.info("the clip goes on at %g, which this run had learnt", self.clip)

    @property
    def clip(self) -> float:
        """Of the next training."""
        return self._search.clip

    def learn(self, sums: Iterable[tuple[int, int]]) -> None:
        """Takes what the sums of a training say: one, or one for each group.

        Args:
            sums: of each, how many coordinates were clipped, and of how many.
        """
        counts = list(sums)
        clipped, coordinates = sum(count for count, _ in counts), sum(count for _, count in counts)
        before = self.clip
        self._search = self._asked.next(self._search, clipped, coordinates)
        self._journal.keep_search(self._run, asdict(self._search))
        if self.clip != before:
            log.info("%d of %d coordinates were clipped to %g; the next clip is %g", clipped, coordinates, before, self.clip)
        elif self._search.at == self._asked.top and clipped > self._asked.target * coordinates:
            log.warning("%d of %d coordinates were clipped to %g, the largest clip; raise high", clipped, coordinates, before)
