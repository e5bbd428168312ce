"""`Histogram`, `Quantiles`, `Frequencies`, `Crosstab`: counts by bin and by label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar

import numpy as np

from stfed.errors import LocalError, shown
from stfed.flower.analytics.codebook import MAX_STEPS, Codebook, category_named, number_named
from stfed.flower.analytics.question import OfOneColumn, Question, listed, presence
from stfed.flower.analytics.results import CrosstabOf, FrequenciesOf, HistogramOf, QuantilesOf
from stfed.flower.analytics.table import MISSING, OTHER, Table

_RANK = 1e-9
"""0.07 * 100 is a little over 7 in doubles, and means 7."""


@dataclass(frozen=True, slots=True)
class Histogram(OfOneColumn):
    """How many values of a column of numbers are in each bin. Numbers: missing, below, above, one a bin.

    Attributes:
        edges: of the bins, values that the codebook has edges at; None: all of the codebook's.
    """

    kind: ClassVar[str] = "histogram"
    edges: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.edges is not None:
            object.__setattr__(self, "edges", listed("edges", self.edges, 2))

    def places(self, codebook: Codebook) -> list[int]:
        """Which of the codebook's edges these are. Parties bin by them, so that nothing hangs on how an edge was written."""
        number = number_named(codebook, self.column)
        places = list(range(number.steps + 1)) if self.edges is None else [number.place(edge) for edge in self.edges]
        if any(one >= other for one, other in pairwise(places)):
            raise LocalError(f"the edges for {shown(self.column)} do not rise")
        return places

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        return len(self.places(codebook)) + 2

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        edges = number_named(table.codebook, self.column).edges
        values = table.values(self.column)
        x, bins = values.x[values.present], len(edges) - 1
        at = np.searchsorted(edges, x, side="right") - 1
        at[x == edges[-1]] = bins - 1
        outside = np.where(x > edges[-1], bins + 1, at + 1)  # 0 is below, bins + 1 above
        finest = np.bincount(outside, minlength=bins + 2)
        places = self.places(table.codebook)
        cuts = [0, *(place + 1 for place in places), bins + 2]
        below, *counts, above = (int(finest[start:stop].sum()) for start, stop in pairwise(cuts))
        return [presence(values.present)[1], below, above, *counts]

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> HistogramOf:
        """See `Question`."""
        missing, below, above, *counts = sums
        every = number_named(codebook, self.column).edges
        edges = tuple(float(every[place]) for place in self.places(codebook))
        return HistogramOf(parties, sum(sums) - missing, self.column, missing, edges, tuple(counts), below, above)


@dataclass(frozen=True, slots=True)
class Quantiles(OfOneColumn):
    """Quantiles of a column of numbers, from one histogram with the codebook's steps: one question, whatever the probabilities.

    Refining the bins around a quantile, round after round, would end nearer to it, and give away one more exact sum a round.
    """

    kind: ClassVar[str] = "quantiles"
    probabilities: tuple[float, ...] = (0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", listed("probabilities", self.probabilities, 1))
        if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in self.probabilities):
            raise LocalError(f"probabilities are {shown(self.probabilities)}, each must be from 0 to 1")

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        return Histogram(self.column).size(codebook)

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        return Histogram(self.column).answer(table)

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> QuantilesOf:
        """See `Question`."""
        number, (missing, below, above, *counts) = number_named(codebook, self.column), sums
        values = sum(sums) - missing
        edges = number.edges
        middles = [number.low, *((edges[:-1] + edges[1:]) / 2).tolist(), number.high]
        up_to = list(accumulate((below, *counts, above)))
        found = {}
        for share in self.probabilities if values else ():
            rank = max(math.ceil(share * values - _RANK), 1)
            found[float(share)] = float(next(middle for middle, reached in zip(middles, up_to, strict=True) if reached >= rank))
        return QuantilesOf(parties, values, self.column, missing, below, above, found, number.step / 2)


@dataclass(frozen=True, slots=True)
class Frequencies(OfOneColumn):
    """How often each label of a category occurs. Numbers: missing, other, one a label."""

    kind: ClassVar[str] = "frequencies"

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        return len(category_named(codebook, self.column).labels) + 2

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        labels = table.labels(self.column)
        first = min(MISSING, OTHER)
        return [int(count) for count in np.bincount(labels - first, minlength=self.size(table.codebook))]

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> FrequenciesOf:
        """See `Question`."""
        missing, other, *counts = sums
        labels = category_named(codebook, self.column).labels
        return FrequenciesOf(parties, sum(sums) - missing, self.column, missing, dict(zip(labels, counts, strict=True)), other)


@dataclass(frozen=True, slots=True)
class Crosstab(Question):
    """How often each pair of labels of two categories occurs in one row. Numbers: rows left out, one a pair, row by row.

    Attributes:
        rows: the category down the side.
        columns: the one across.
    """

    kind: ClassVar[str] = "crosstab"
    rows: str
    columns: str

    @property
    def names(self) -> tuple[str, ...]:
        """See `Question`."""
        return self.rows, self.columns

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        down, across = self._shape(codebook)
        if down * across > MAX_STEPS:
            raise LocalError(f"a table of {down} times {across} cells is over {MAX_STEPS}")
        return down * across + 1

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        down, across = self._shape(table.codebook)
        one, other = table.labels(self.rows), table.labels(self.columns)
        kept = (one >= 0) & (other >= 0)
        cells = np.bincount(one[kept] * across + other[kept], minlength=down * across)
        return [int(np.count_nonzero(~kept)), *(int(count) for count in cells)]

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> CrosstabOf:
        """See `Question`."""
        _, across = self._shape(codebook)
        left_out, *cells = sums
        counts = tuple(tuple(cells[at : at + across]) for at in range(0, len(cells), across))
        return CrosstabOf(parties, sum(cells), self.rows, self.columns, counts, left_out)

    def _shape(self, codebook: Codebook) -> tuple[int, int]:
        down, across = (len(category_named(codebook, name).labels) for name in self.names)
        return down, across
