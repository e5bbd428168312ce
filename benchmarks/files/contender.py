"""What takes part: one class each, named, of a kind, and with the four things that are timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.files.workload import Tensors


class Kind(StrEnum):
    """Groups of the table."""

    PLAIN = "plain"
    PEER = "encrypted peer"
    OURS = "stfed"
    LIMIT = "limit"


class UnavailableError(Exception):
    """A contender cannot take part in this environment; the message says why."""


class Contender(ABC):
    """Saves tensors to a file and loads them. Making one finds its packages and makes its keys; none of that is timed.

    Attributes:
        name: as in the table and after `--only`.
        kind: the group it belongs to.

    Raises:
        UnavailableError: when made, if something it needs is not installed.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]

    def prepare(self, tensors: Tensors) -> Any:
        """The tensors in the form that `save` takes; not timed."""
        return tensors

    @abstractmethod
    def save(self, prepared: Any, path: Path) -> None:
        """Writes the file, which does not exist."""

    @abstractmethod
    def load(self, path: Path) -> Mapping[str, Any]:
        """All tensors, their bytes in memory: what maps a file touches all of its pages."""

    def tensor(self, path: Path, name: str) -> Any:
        """One tensor, read in the cheapest way there is. By default there is none but to load all."""
        return self.load(path)[name]

    def row(self, path: Path, name: str, index: int) -> Any:
        """One row of a tensor, read in the cheapest way there is."""
        return self.tensor(path, name)[index]


def as_octets(tensor: Any) -> NDArray[np.uint8]:
    """The bytes of a tensor of numpy or torch, flat, for comparison."""
    array = np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
