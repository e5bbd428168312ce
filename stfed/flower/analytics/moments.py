"""`Count`, `Mean`, `Variance`, `Covariance`: sums of scaled values and of their products, and what is known of the moments from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError, shown
from stfed.flower.analytics import fixed
from stfed.flower.analytics.codebook import Codebook, number_named
from stfed.flower.analytics.question import OfOneColumn, Question, listed, presence
from stfed.flower.analytics.results import CountOf, CovarianceOf, MeanOf, VarianceOf
from stfed.flower.analytics.table import Table

MAX_COLUMNS = 64
"""Most columns of one covariance."""


@dataclass(frozen=True, slots=True)
class Count(OfOneColumn):
    """How many rows have a value in a column of numbers, and how many have none."""

    kind: ClassVar[str] = "count"

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        number_named(codebook, self.column)
        return 2

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        return presence(table.values(self.column).present)

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> CountOf:
        """See `Question`."""
        values, missing = sums
        return CountOf(parties, values, self.column, missing)


@dataclass(frozen=True, slots=True)
class Mean(OfOneColumn):
    """The mean of a column of numbers. Numbers: present, missing, below, above, sum of scaled values."""

    kind: ClassVar[str] = "mean"

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        number_named(codebook, self.column)
        return 5

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        values = table.values(self.column)
        return [*presence(values.present), values.below, values.above, fixed.units(values.v[values.present])]

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> MeanOf:
        """See `Question`."""
        values, missing, below, above, total = sums
        return MeanOf(parties, values, self.column, missing, below, above, *mean_of(codebook, self.column, total, values, parties))


@dataclass(frozen=True, slots=True)
class Variance(Mean):
    """Mean and sample variance of a column of numbers. Numbers: those of `Mean`, and the sum of the scaled values' squares."""

    kind: ClassVar[str] = "variance"

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        return Mean.size(self, codebook) + 1

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        values = table.values(self.column)
        return [*Mean.answer(self, table), fixed.units(values.v[values.present] ** 2)]

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> VarianceOf:
        """See `Question`."""
        values, missing, below, above, total, squares = sums
        mean = mean_of(codebook, self.column, total, values, parties)
        scale = number_named(codebook, self.column).range ** 2
        variance, error = covariance_of((total, total), squares, values, parties, scale)
        variance = None if variance is None else max(variance, 0.0)
        return VarianceOf(parties, values, self.column, missing, below, above, *mean, variance, error)


@dataclass(frozen=True, slots=True)
class Covariance(Question):
    """Means and covariances of several columns of numbers, over the rows that have a value in all of them.

    Numbers: complete rows, other rows; clipped and sum by column; sum of products by pair, (0, 0), (0, 1), ..., (1, 1), ...
    """

    kind: ClassVar[str] = "covariance"
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", listed("columns", self.columns, 2))
        if len(set(self.columns)) != len(self.columns) or len(self.columns) > MAX_COLUMNS:
            raise LocalError(f"a covariance is about 2 to {MAX_COLUMNS} different columns, not {shown(self.columns)}")

    @property
    def names(self) -> tuple[str, ...]:
        """See `Question`."""
        return self.columns

    def size(self, codebook: Codebook) -> int:
        """See `Question`."""
        for name in self.columns:
            number_named(codebook, name)
        return 2 + 2 * len(self.columns) + len(self._pairs())

    def answer(self, table: Table) -> list[int]:
        """See `Question`."""
        columns = {name: table.values(name) for name in self.columns}
        complete = np.logical_and.reduce([values.present for values in columns.values()])
        v = {name: values.v[complete] for name, values in columns.items()}
        clipped = [_outside(table.codebook, name, columns[name].x[complete]) for name in self.columns]
        sums = [fixed.units(v[name]) for name in self.columns]
        return [*presence(complete), *clipped, *sums, *(fixed.units(v[one] * v[other]) for one, other in self._pairs())]

    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> CovarianceOf:
        """See `Question`."""
        count = len(self.columns)
        values, incomplete, *rest = sums
        clipped, totals = rest[:count], dict(zip(self.columns, rest[count:], strict=False))
        products = dict(zip(self._pairs(), rest[2 * count :], strict=True))
        found, errors = [[0.0] * count for _ in range(count)], [[0.0] * count for _ in range(count)]
        for (one, other), total in products.items():
            scale = number_named(codebook, one).range * number_named(codebook, other).range
            value, error = covariance_of((totals[one], totals[other]), total, values, parties, scale)
            at, to = self.columns.index(one), self.columns.index(other)
            errors[at][to] = errors[to][at] = error
            found[at][to] = found[to][at] = value or 0.0
        means = [mean_of(codebook, name, totals[name], values, parties)[0] for name in self.columns]
        return CovarianceOf(
            parties,
            values,
            self.columns,
            incomplete,
            tuple(clipped),
            tuple(mean for mean in means if mean is not None) or None,
            tuple(map(tuple, found)) if values > 1 else None,
            tuple(map(tuple, errors)),
        )

    def _pairs(self) -> list[tuple[str, str]]:
        return list(combinations_with_replacement(self.columns, 2))


def _outside(codebook: Codebook, name: str, x: NDArray[np.float64]) -> int:
    number = number_named(codebook, name)
    return int(np.count_nonzero((x < number.low) | (x > number.high)))


def mean_of(codebook: Codebook, name: str, total: int, values: int, parties: int) -> tuple[float | None, float]:
    """Mean and its error in the column's own unit."""
    if values < 1:
        return None, 0.0
    number = number_named(codebook, name)
    scaled = float(fixed.mean(total, values))
    error = number.range * fixed.mean_error(parties, values) + 2.0**-50 * max(abs(number.low), abs(number.high))
    return number.low + (scaled + 0.5) * number.range, error


def covariance_of(totals: tuple[int, int], products: int, values: int, parties: int, scale: float) -> tuple[float | None, float]:
    """Sample covariance and its error.

    With scaled values in [-1/2, 1/2] and each mean off by e at most, the mean product less the product of means is off by 2 e + e^2.
    """
    if values < 2:
        return None, 0.0
    one, other = (fixed.mean(total, values) for total in totals)
    bessel = values / (values - 1)
    error = fixed.mean_error(parties, values)
    found = float(fixed.mean(products, values) - one * other)
    return found * bessel * scale, (2 * error + error * error) * bessel * scale
