"""`Table`: a party's own rows, as the questions read them. Nothing in it leaves the party but what a question adds up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stfed.errors import LocalError
from stfed.flower.analytics.codebook import Codebook, category_named, number_named

Source: TypeAlias = Mapping[str, ArrayLike] | Callable[[Sequence[str]], Mapping[str, ArrayLike]]
"""The columns by name, or what reads those that are asked for."""

OTHER, MISSING = -1, -2
"""What stands for a label that is not in the codebook, and for none."""


@dataclass(frozen=True, slots=True)
class Values:
    """A column of numbers.

    Attributes:
        x: shape (rows,); NaN where a value is missing.
        v: the same clipped to the column's range and scaled to [-1/2, 1/2], NaN likewise. A value is off by 2^-51 at most.
        below: rows under the range.
        above: rows over it.
    """

    x: NDArray[np.float64] = field(repr=False)
    v: NDArray[np.float64] = field(repr=False)
    below: int = field(repr=False)
    above: int = field(repr=False)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows have a value."""
        return np.isfinite(self.v)


class Table:
    """The rows of one party.

    Args:
        codebook: what the columns are.
        source: where they come from.
        names: the columns that are asked for; only they are read.

    Raises:
        LocalError: a column is not there, is no column, or has other rows than the rest.
    """

    def __init__(self, codebook: Codebook, source: Source, names: Sequence[str]) -> None:
        self.codebook = codebook
        read = source if isinstance(source, Mapping) else source(tuple(names))
        missing = [name for name in names if name not in read]
        if missing:
            raise LocalError(f"this party's table has no column {missing[0]!r}")
        self._columns: dict[str, Any] = {name: read[name] for name in names}
        lengths = {len(column) for column in self._columns.values()}
        if len(lengths) > 1:
            raise LocalError(f"the columns {', '.join(map(repr, names))} of this party's table are not equally long")
        self.rows: int = lengths.pop() if lengths else 0

    def __repr__(self) -> str:
        return f"Table({', '.join(map(repr, self._columns))})"

    def values(self, name: str) -> Values:
        """A column of numbers; infinite ones are out of range, NaN and None are missing."""
        column = number_named(self.codebook, name)
        x = np.array(self._columns[name], np.float64)
        if x.ndim != 1:
            raise LocalError(f"the column {name!r} of this party's table has {x.ndim} dimensions, a column has one")
        v = (np.clip(x, column.low, column.high) - column.low) / column.range - 0.5
        return Values(x, v, int(np.count_nonzero(x < column.low)), int(np.count_nonzero(x > column.high)))

    def labels(self, name: str) -> NDArray[np.int64]:
        """A column of labels, shape (rows,): places in `Category.labels`, `OTHER`, or `MISSING` for None and NaN."""
        places: dict[Any, int] = {label: place for place, label in enumerate(category_named(self.codebook, name).labels)}
        column = self._columns[name]
        values = column.tolist() if hasattr(column, "tolist") else list(column)
        return np.array([_place(places, value) for value in values], np.int64).reshape(len(values))


def _place(places: Mapping[Any, int], value: Any) -> int:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    return places.get(value, OTHER) if isinstance(value, str | int | float) and not isinstance(value, bool) else OTHER
