"""A search for what a party must never show, in whatever somebody else has got: bytes on a wire, a database, logs.

Sought are, in any alignment, the trained model and its change, every window of 16 bytes of them as numbers of 2, 4 and 8 bytes in both byte
orders; each metric as a double in both byte orders and as text; and each metric with its name, as Flower's messages have it, which also
finds counts too small to be sought alone. A window counts only if training moved every number in it: the rest of a model is public.

16 bytes do not meet by chance: random data of a terabyte holds one of a million windows with probability 2^-68. Every use of it needs a run
in which it does find everything, because a search that finds nothing may be one that is broken.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from flwr.app import MetricRecord
from numpy.typing import NDArray

from stfed.errors import LocalError

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

_HEAD = 8
_WINDOW = 16
_NUMBERS = tuple(np.dtype(order + form) for order in "<>" for form in ("f2", "f4", "f8"))
_LEAST_TEXT = 8
"""Shorter texts, and shorter numbers, are found by chance."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a find would be: whose, of which round, and what."""

    party: str
    round: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} of {self.party} in round {self.round}"


class Secrets:
    """What is sought."""

    def __init__(self) -> None:
        self._by_head: defaultdict[int, dict[bytes, Label]] = defaultdict(dict)
        self._heads: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._by_head.values()))

    def add_update(self, party: str, server_round: int, before: Arrays, after: Arrays) -> None:
        """A trained model, and what it was trained from, which is public."""
        for name, value in after.items():
            change = np.asarray(value, np.float64) - np.asarray(before[name], np.float64)
            moved = change.ravel() != 0
            for what, numbers in (("trained model", np.asarray(value).ravel()), ("update", change.ravel())):
                for window in _windows(numbers, moved):
                    self._add(window, Label(party, server_round, what))

    def add_metrics(self, party: str, server_round: int, metrics: Mapping[str, float | int]) -> None:
        """What a party measured, its number of examples included."""
        for name, value in metrics.items():
            for form in _forms(name, value):
                self._add(form, Label(party, server_round, name))

    def found_in(self, data: bytes) -> set[Label]:
        """The secrets in the data."""
        if self._heads is None:
            self._heads = np.array(sorted(self._by_head), np.uint64)
        labels = set()
        for position in self._candidates(data):
            head = int.from_bytes(data[position : position + _HEAD], "little")
            for form, label in self._by_head[head].items():
                if data.startswith(form, position):
                    labels.add(label)
        return labels

    def found_below(self, folder: Path) -> dict[Path, set[Label]]:
        """The secrets in the files of a folder, all the way down, by file; files without any are left out."""
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path: labels for path in files if (labels := self.found_in(path.read_bytes()))}

    def _add(self, form: bytes, label: Label) -> None:
        if len(form) < _HEAD:
            raise LocalError(f"{label} has {len(form)} bytes, too few to tell it from chance", hint="give the metric a longer name")
        self._by_head[int.from_bytes(form[:_HEAD], "little")].setdefault(form, label)
        self._heads = None

    def _candidates(self, data: bytes) -> Iterator[int]:
        """Where the data have the first eight bytes of something sought."""
        assert self._heads is not None
        if not self._heads.size:
            return
        for start in range(_HEAD):
            words = np.frombuffer(data, "<u8", max(0, (len(data) - start) // _HEAD), min(start, len(data)))
            places = np.searchsorted(self._heads, words).clip(max=self._heads.size - 1)
            for index in np.flatnonzero(self._heads[places] == words).tolist():
                yield start + _HEAD * index


def _windows(numbers: NDArray[Any], moved: NDArray[np.bool_]) -> Iterator[bytes]:
    with np.errstate(over="ignore", under="ignore"):
        for form in _NUMBERS:
            values, width = numbers.astype(form), _WINDOW // form.itemsize
            # Numbers that are too small for the format, or all alike, are as good as zeros, which everything is full of.
            clear = moved & (values != 0) & np.isfinite(values)
            data = values.tobytes()
            for start in range(len(values) - width + 1):
                window = data[start * form.itemsize : start * form.itemsize + _WINDOW]
                if clear[start : start + width].all() and len(set(window)) > _WINDOW // 3:
                    yield window


def _forms(name: str, value: float | int) -> Iterator[bytes]:
    record = MetricRecord({name: value}).deflate()
    yield record[record.index(name.encode()) - 2 :]  # with the tag and length before the name
    if isinstance(value, float):
        yield from (struct.pack(form, value) for form in ("<d", ">d"))
        if len(text := repr(value)) >= _LEAST_TEXT:
            yield text.encode()


def parties(labels: Iterable[Label]) -> set[tuple[str, int]]:
    """Party and round of each find."""
    return {(label.party, label.round) for label in labels}
