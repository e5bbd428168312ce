"""The targets, each a ratio of two things measured in the same run, with a plain answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.files.contender import Kind
from benchmarks.files.ours import BLAKE3, SHA256, UNSIGNED, Reach
from benchmarks.files.plain import SafetensorsNumpy
from benchmarks.files.timing import LOAD, LOAD_SMALL, SAVE, SAVE_SMALL, Measured

SEAL_TO_PLAIN, OPEN_TO_PLAIN = 0.9, 2.2
SEAL_TO_PEER, OPEN_TO_PEER = 2.0, 1.5
SIGNED_TO_UNSIGNED = 0.8
SMALL_TO_PLAIN = 1.0
EXTRA_MIB = 64
TARGET_BYTES = 1 << 30
"""The size the targets are for. A call costs some milliseconds whatever it does, which hide the rest in a small file."""


@dataclass(frozen=True)
class Verdict:
    """One target.

    Attributes:
        what: in words.
        value: what was measured.
        target: what it should be.
        at_least: or else at most.
    """

    what: str
    value: float
    target: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether it is what it should be."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        sign, verdict = (">=" if self.at_least else "<="), ("met" if self.met else "missed")
        return f"{self.what:76}{self.value:8.2f}   {sign} {self.target:<6g}{verdict}"


def verdicts(measured: Mapping[str, Measured], reaches: Mapping[str, Reach]) -> list[Verdict]:
    """All that the run can answer; what was not measured is left out."""
    return [*_speeds(measured), *_reaches(reaches), *_memory(measured)]


def _speeds(measured: Mapping[str, Measured]) -> Iterator[Verdict]:
    plain = SafetensorsNumpy.name
    for what, theirs, target in ((SAVE, f"seal / {plain} save", SEAL_TO_PLAIN), (LOAD, f"open / {plain} load", OPEN_TO_PLAIN)):
        yield from _ratio(measured, theirs, what, UNSIGNED, plain, target)
    for what, verb, target in ((SAVE, "seal", SEAL_TO_PEER), (LOAD, "open", OPEN_TO_PEER)):
        times = {name: one.best(what) for name, one in measured.items() if one.kind is Kind.PEER}
        fastest = min((name for name, best in times.items() if best), key=lambda name: times[name] or 0.0, default=None)
        if fastest is not None:
            yield from _ratio(measured, f"{verb} / the fastest encrypted peer ({fastest})", what, UNSIGNED, fastest, target)
    for name in (BLAKE3, SHA256):
        for what, verb in ((SAVE, "seal, signed"), (LOAD, "open, digests checked")):
            yield from _ratio(measured, f"{verb} ({name.split()[-1]}) / unsigned", what, name, UNSIGNED, SIGNED_TO_UNSIGNED)
    for what, verb in ((SAVE_SMALL, "seal"), (LOAD_SMALL, "open")):
        yield from _ratio(measured, f"many small tensors: {verb} / {plain}", what, UNSIGNED, plain, SMALL_TO_PLAIN)


def _ratio(measured: Mapping[str, Measured], words: str, what: str, ours: str, theirs: str, target: float) -> Iterator[Verdict]:
    """How many times as fast ours is: the best of one against the best of the other."""
    mine, other = (measured[name].best(what) if name in measured else None for name in (ours, theirs))
    if mine and other:
        yield Verdict(words, other / mine, target)


def _reaches(reaches: Mapping[str, Reach]) -> Iterator[Verdict]:
    for what, one in reaches.items():
        yield Verdict(f"one {what}: segments decrypted, header included, {one.needed} needed", one.opened, one.needed, at_least=False)


def _memory(measured: Mapping[str, Measured]) -> Iterator[Verdict]:
    for what, verb in ((SAVE, "seal"), (LOAD, "open")):
        peaks = [one.extra_bytes[what] / 2**20 for one in measured.values() if one.kind is Kind.OURS and what in one.extra_bytes]
        if peaks:
            yield Verdict(f"{verb}: peak extra memory, MiB, the most of ours", max(peaks), EXTRA_MIB, at_least=False)
