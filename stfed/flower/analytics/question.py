"""What a question is: what it adds up at a party, and what the sum over all parties is worth.

A question is a small frozen object that names columns of the codebook. It turns a party's table into whole numbers (`answer`), and the sums
of those numbers into a result (`read`). Both halves of one statistic stand side by side: if they disagree, so does the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError, shown
from stfed.flower.analytics.codebook import Codebook
from stfed.flower.analytics.results import Result
from stfed.flower.analytics.table import Table


@dataclass(frozen=True, slots=True)
class Question(ABC):
    """One question; compared and sent by its fields."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The columns that it reads."""

    @abstractmethod
    def size(self, codebook: Codebook) -> int:
        """How many numbers an answer has.

        Raises:
            LocalError: the question does not fit the codebook.
        """

    @abstractmethod
    def answer(self, table: Table) -> list[int]:
        """A party's numbers."""

    @abstractmethod
    def read(self, codebook: Codebook, sums: Sequence[int], parties: int) -> Result:
        """The result that the sums of all parties' numbers are."""

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"kind": self.kind, **fields}


@dataclass(frozen=True, slots=True)
class OfOneColumn(Question):
    """A question about one column."""

    column: str

    @property
    def names(self) -> tuple[str, ...]:
        """See `Question`."""
        return (self.column,)


def presence(present: NDArray[np.bool_]) -> list[int]:
    """How many rows have a value, and how many have none."""
    there = int(np.count_nonzero(present))
    return [there, len(present) - there]


def listed(what: str, value: Iterable[Any], least: int) -> tuple[Any, ...]:
    """A list of values as a tuple.

    Raises:
        LocalError: none, or too short.
    """
    if isinstance(value, str) or not isinstance(value, Iterable) or len(made := tuple(value)) < least:
        raise LocalError(f"{what} is {shown(value)}, a list of {least} or more is needed")
    return made
