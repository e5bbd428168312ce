"""What a question comes to: small records with the count of what they rest on and the bound of their error.

`parties` are those that were summed, `values` the values of all of them together. A statistic that does not exist, such as the mean of no
values, is None. Errors are absolute and hold always; they are about the sums, not about what the sums estimate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What all results have."""

    parties: int
    values: int

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values, with the kind of result under "result"."""
        return {"result": type(self).__name__, **_plain(asdict(self))}


@dataclass(frozen=True, slots=True)
class CountOf(Result):
    """How many rows have a value in the column, and how many have none. Exact."""

    column: str
    missing: int


@dataclass(frozen=True, slots=True)
class MeanOf(Result):
    """The mean of a column's values, each clipped to the codebook's range.

    Attributes:
        below: values that count as the low end of the range.
        above: values that count as the high end.
        mean: None without values.
        error: the mean is off by this at most.
    """

    column: str
    missing: int
    below: int
    above: int
    mean: float | None
    error: float


@dataclass(frozen=True, slots=True)
class VarianceOf(MeanOf):
    """Mean and sample variance (divided by values - 1) of a column's clipped values.

    Attributes:
        variance: None for fewer than two values; never negative.
        variance_error: the variance is off by this at most.
    """

    variance: float | None
    variance_error: float

    @property
    def deviation(self) -> float | None:
        """The square root of the variance."""
        return None if self.variance is None else float(self.variance**0.5)


@dataclass(frozen=True, slots=True)
class HistogramOf(Result):
    """How many values are in each bin. Exact.

    Attributes:
        edges: of the bins, one more than there are bins. A bin has its lower edge; the upper one only where the codebook's range ends.
        counts: by bin.
        below: values under the first edge.
        above: values over the last one.
    """

    column: str
    missing: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int


@dataclass(frozen=True, slots=True)
class QuantilesOf(Result):
    """Quantiles of a column's clipped values, from one histogram with the codebook's steps.

    A quantile p is the smallest value with at least a share p of all values up to it: `numpy.quantile(..., method="inverted_cdf")`. What is
    known of it is the bin that it is in; the middle of that bin is off by half a step at most.

    Attributes:
        quantiles: by probability; empty without values.
        error: each quantile is off by this at most.
        below: values that count as the low end of the range.
        above: values that count as the high end.
    """

    column: str
    missing: int
    below: int
    above: int
    quantiles: dict[float, float]
    error: float


@dataclass(frozen=True, slots=True)
class FrequenciesOf(Result):
    """How often each label of a category occurs. Exact.

    Attributes:
        counts: by label, in the codebook's order.
        other: values that are no label of the codebook.
    """

    column: str
    missing: int
    counts: dict[str | int, int]
    other: int


@dataclass(frozen=True, slots=True)
class CrosstabOf(Result):
    """How often each pair of labels of two categories occurs in one row. Exact.

    Attributes:
        rows: the category down the side.
        columns: the one across.
        counts: by row label, then by column label, in the codebook's order.
        left_out: rows in which either is missing or no label of the codebook.
    """

    rows: str
    columns: str
    counts: tuple[tuple[int, ...], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class CovarianceOf(Result):
    """Means and sample covariances of several columns, over the rows that have a value in all of them, clipped as in `MeanOf`.

    Attributes:
        values: such rows.
        incomplete: the other rows.
        clipped: by column, complete rows whose value was out of range.
        means: by column; None without rows.
        covariance: row by row; None for fewer than two rows.
        errors: by which each covariance can be off.
    """

    columns: tuple[str, ...]
    incomplete: int
    clipped: tuple[int, ...]
    means: tuple[float, ...] | None
    covariance: tuple[tuple[float, ...], ...] | None
    errors: tuple[tuple[float, ...], ...]

    @property
    def correlation(self) -> tuple[tuple[float, ...], ...] | None:
        """Pearson's correlations; None where a variance is too small to be told from zero."""
        if self.covariance is None or any(self.covariance[at][at] <= self.errors[at][at] for at in range(len(self.columns))):
            return None
        scales = [self.covariance[at][at] ** 0.5 for at in range(len(self.columns))]
        return tuple(
            tuple(value / (scales[at] * scales[other]) for other, value in enumerate(row)) for at, row in enumerate(self.covariance)
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
