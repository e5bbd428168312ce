"""`Number`, `Category`: what everybody agrees on about a column before anything is asked. A codebook is a dict of them, by column name.

The codebook is the heart of what a party gives away. It fixes a column's range and the finest step at which it is ever counted, so a
question has no bounds, edges or filters of its own: every histogram of a column is a coarsening of the one with its steps, every mean is
of the same clipped values. Two questions whose bounds differ by a hair, the usual way to single a person out with sums, cannot be put.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError, shown

MAX_STEPS = 1 << 16
"""Most steps of a number, categories of a category, cells of a table."""
_WHOLE = 1e-6
"""How far from a whole number of steps a bound may be written, in steps: 0.3 / 0.1 is not 3 in doubles."""


@dataclass(frozen=True, slots=True)
class Number:
    """A column of real numbers.

    Attributes:
        low: smallest value that counts as it is; what is below counts as this one in means, and is counted.
        high: largest one, likewise.
        step: width of the finest bin; `high - low` is a whole number of steps.
    """

    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            object.__setattr__(self, name, _real(name, getattr(self, name)))
        if not (self.low < self.high and self.step > 0 and math.isfinite(self.high - self.low)):
            raise LocalError(f"a number from {self.low:g} to {self.high:g} in steps of {self.step:g} has no range")
        steps = (self.high - self.low) / self.step
        if not 0.5 < steps <= MAX_STEPS or abs(steps - round(steps)) > _WHOLE:
            raise LocalError(
                f"from {self.low:g} to {self.high:g} it is {steps:g} steps of {self.step:g}",
                hint=f"a whole number of steps is needed, at most {MAX_STEPS}",
            )

    @property
    def range(self) -> float:
        """The width of all bins."""
        return self.high - self.low

    @property
    def steps(self) -> int:
        """The number of finest bins."""
        return round((self.high - self.low) / self.step)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Of the finest bins, shape (steps + 1,), read-only; each is the double nearest to what `low` and `step` say in decimals."""
        return _edges(self)

    def place(self, edge: float) -> int:
        """Which of the finest edges this is.

        Raises:
            LocalError: none of them.
        """
        at = (_real("an edge", edge) - self.low) / self.step
        place = round(at) if math.isfinite(at) else -1
        if not 0 <= place <= self.steps or abs(at - place) > _WHOLE:
            raise LocalError(f"there is no edge at {edge:g}: the column has steps of {self.step:g} from {self.low:g} to {self.high:g}")
        return place

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"high": self.high, "low": self.low, "step": self.step}


@dataclass(frozen=True, slots=True, init=False)
class Category:
    """A column of labels.

    Attributes:
        labels: the values that are counted, strings or whole numbers; every other one counts as "other".
    """

    labels: tuple[str | int, ...]

    def __init__(self, *labels: str | int) -> None:
        if not 1 <= len(labels) <= MAX_STEPS or len(set(labels)) != len(labels):
            raise LocalError(f"a category has 1 to {MAX_STEPS} different labels, not {shown(labels)}")
        if not all(type(label) in (str, int) for label in labels):
            raise LocalError("a label is a string or a whole number", hint='Category("benign", "malignant")')
        object.__setattr__(self, "labels", labels)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"labels": list(self.labels)}


Column: TypeAlias = Number | Category
Codebook: TypeAlias = Mapping[str, Column]

C = TypeVar("C", Number, Category)


def column_of(value: Any) -> Column:
    """The column that `as_dict` made this of.

    Raises:
        LocalError: none.
    """
    match value:
        case {"low": low, "high": high, "step": step} if len(value) == 3:
            return Number(low, high, step)
        case {"labels": list(labels)} if len(value) == 1:
            return Category(*labels)
        case _:
            raise LocalError(f"this is no column of a codebook: {shown(value)}")


def number_named(codebook: Codebook, name: str) -> Number:
    """A column that has to be a number.

    Raises:
        LocalError: it is not in the codebook, or a category.
    """
    return _of_kind(codebook, name, Number)


def category_named(codebook: Codebook, name: str) -> Category:
    """A column that has to be a category.

    Raises:
        LocalError: it is not in the codebook, or a number.
    """
    return _of_kind(codebook, name, Category)


def _of_kind(codebook: Codebook, name: str, kind: type[C]) -> C:
    column = column_named(codebook, name)
    if not isinstance(column, kind):
        found, asked = (one.__name__.lower() for one in (type(column), kind))
        raise LocalError(f"the column {shown(name)} is a {found}, this question is about a {asked}")
    return column


def column_named(codebook: Codebook, name: str) -> Column:
    """A column.

    Raises:
        LocalError: it is not in the codebook.
    """
    if name not in codebook:
        raise LocalError(f"the codebook has no column {shown(name)}", hint="it has " + ", ".join(map(shown, codebook)))
    return codebook[name]


@lru_cache(maxsize=64)
def _edges(number: Number) -> NDArray[np.float64]:
    low, step = Decimal(repr(number.low)), Decimal(repr(number.step))
    edges = np.array([float(low + place * step) for place in range(number.steps)] + [number.high])
    edges.flags.writeable = False
    return edges


def _real(what: str, value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise LocalError(f"{what} is {shown(value)}, it must be a finite number")
    return float(value)
