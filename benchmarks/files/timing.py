"""The clock: every contender saves, loads, reads one tensor and one row, over and over in turns, and is checked the first time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files.contender import Contender, Kind, as_octets
from benchmarks.files.machine import claim
from benchmarks.files.workload import EMBEDDING, PROBE, ROW, Workload
from benchmarks.progress import progress

SAVE, LOAD, TENSOR, ROW_OF = "save", "load", "one tensor", "one row"
SAVE_SMALL, LOAD_SMALL = "save small", "load small"
_CLAIMED = 4
"""Memory made ready before each timing, in sizes of the workload: the hungriest contender holds three beside the tensors."""


class WrongError(Exception):
    """A contender gave back other bytes than it was given."""


@dataclass
class Measured:
    """What is known of one contender.

    Attributes:
        seconds: wall time by what was done, one entry a repetition.
        extra_bytes: largest memory beyond the tensors themselves, by what was done.
        problems: why something could not be measured, by what was to be done.
        wrong: whether it ever gave back other bytes.
    """

    name: str
    kind: Kind
    seconds: dict[str, list[float]] = field(default_factory=dict)
    extra_bytes: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    wrong: bool = False

    def best(self, what: str) -> float | None:
        """Seconds of the fastest repetition: what is left when no neighbour on the machine interferes."""
        return min(self.seconds[what]) if self.seconds.get(what) else None


def measure(contenders: Sequence[Contender], large: Workload, small: Workload, folder: Path, repeat: int) -> dict[str, Measured]:
    """All repetitions. The contenders take turns, each time another one first, so that a slow minute of the machine hits all alike."""
    measured = {one.name: Measured(one.name, one.kind) for one in contenders}
    for repetition in range(repeat):
        first = repetition * len(contenders) // repeat
        for contender in (*contenders[first:], *contenders[:first]):
            progress(f"repetition {repetition + 1} of {repeat}: {contender.name}")
            turn = Turn(contender, measured[contender.name], folder / "benchmark.bin", check=repetition == 0)
            turn.large(large)
            if contender.kind is not Kind.LIMIT:
                turn.small(small)
    return measured


class Turn:
    """One contender's part of one repetition. Its file is there only as long as the turn lasts."""

    def __init__(self, contender: Contender, measured: Measured, path: Path, *, check: bool) -> None:
        self._contender, self._measured, self._path, self._check = contender, measured, path, check

    def large(self, workload: Workload) -> None:
        """Save, load, one tensor, one row."""
        one, path, tensors = self._contender, self._path, workload.tensors
        prepared = one.prepare(tensors)
        if self._timed(SAVE, workload, lambda: one.save(prepared, path), None):
            whole = {"": workload.buffer} if one.kind is Kind.LIMIT else tensors
            self._timed(LOAD, workload, lambda: one.load(path), whole)
            if one.kind is not Kind.LIMIT:
                self._timed(TENSOR, workload, lambda: {"": one.tensor(path, PROBE)}, {"": tensors[PROBE]})
                self._timed(ROW_OF, workload, lambda: {"": one.row(path, EMBEDDING, ROW)}, {"": tensors[EMBEDDING][ROW]})
        path.unlink(missing_ok=True)

    def small(self, workload: Workload) -> None:
        """Save and load."""
        one, path = self._contender, self._path
        prepared = one.prepare(workload.tensors)
        if self._timed(SAVE_SMALL, workload, lambda: one.save(prepared, path), None):
            self._timed(LOAD_SMALL, workload, lambda: one.load(path), workload.tensors)
        path.unlink(missing_ok=True)

    def _timed(self, what: str, workload: Workload, work: Callable[[], Any], expected: Mapping[str, Any] | None) -> bool:
        """Whether it worked. What failed once is not tried again."""
        measured = self._measured
        if what in measured.problems:
            return False
        try:
            claim(_CLAIMED * workload.size_bytes)
            gc.collect()
            start = time.perf_counter()
            result = work()
            seconds = time.perf_counter() - start
            if self._check and expected is not None:
                check(result, expected)
        except Exception as error:  # whatever a peer raises is its result
            measured.problems[what] = f"{type(error).__name__}: {error}".splitlines()[0]
            measured.wrong |= isinstance(error, WrongError)
            return False
        measured.seconds.setdefault(what, []).append(seconds)
        return True


def check(result: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """WrongError unless both hold the same names and bytes."""
    if set(result) != set(expected):
        raise WrongError("it gave back tensors of other names")
    different = (name for name in expected if not np.array_equal(as_octets(result[name]), as_octets(expected[name])))
    for name in different:
        raise WrongError(f"it gave back other bytes for {name or 'what was read'}")


def failures(measured: Iterable[Measured]) -> list[str]:
    """What nobody may overlook: wrong bytes of anybody, and anything at all that went wrong with ours."""
    return [
        f"{one.name}, {what}: {problem}"
        for one in measured
        for what, problem in one.problems.items()
        if one.kind is Kind.OURS or problem.startswith(WrongError.__name__)
    ]
