"""`stfed.sealed` beside plain files, other encrypted ones and the limits of the machine, in turns in one process.

    python -m benchmarks.sealed --gib 1 --tensors 200 --small 10000 --repeat 3

`README.md` says what is timed and how to read the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.files import machine, ours, picture, workload
from benchmarks.files.contender import Contender, Kind, UnavailableError
from benchmarks.files.contenders import CONTENDERS
from benchmarks.files.memory import peak_extra_bytes
from benchmarks.files.ours import Reach
from benchmarks.files.timing import LOAD, LOAD_SMALL, ROW_OF, SAVE, SAVE_SMALL, TENSOR, Measured, failures, measure
from benchmarks.files.verdicts import TARGET_BYTES, Verdict, verdicts
from benchmarks.progress import progress

_PACKAGES = ("blake3", "cryptography", "cryptotensors", "numpy", "pyrage", "safetensors", "tensorizer", "torch")
_QUIET = 0.3


@dataclass(frozen=True)
class Result:
    """Everything that one run found out.

    Attributes:
        measured: by contender.
        absent: why a contender did not take part, by its name.
        reaches: segments that one tensor and one row cost.
        large_bytes, tensors, small: the workloads.
        folder, file_system: where the files lay.
        busy: processes that ran on the machine in the minute before, on average.
        repeat: how often everything was done.
    """

    measured: dict[str, Measured]
    absent: dict[str, str]
    reaches: dict[str, Reach]
    large_bytes: int
    tensors: int
    small: int
    folder: str
    file_system: str
    repeat: int
    busy: float

    @property
    def verdicts(self) -> list[Verdict]:
        """The targets, as far as this run can answer."""
        return verdicts(self.measured, self.reaches)

    @property
    def title(self) -> str:
        """What was done where, in a line."""
        return (
            f"{self.large_bytes / 2**30:.3g} GiB of float32 in {self.tensors} tensors, {self.small:,} tensors of 1 KiB; "
            f"best of {self.repeat}; files in {self.folder} ({self.file_system}), read from the page cache"
        )

    def __str__(self) -> str:
        lines = [self.title, "", *self._head(), *map(self._row, self.measured.values()), "", *self._remarks()]
        head = "" if self.large_bytes > 0.99 * TARGET_BYTES else "   (set for 1 GiB; this is less)"
        return "\n".join([*lines, f"{'ours / theirs in speed, or as named':76}{'measured':>8}   target{head}", *map(str, self.verdicts)])

    def _head(self) -> list[str]:
        groups = (f"{self.tensors} tensors, GiB/s", f"{self.small:,} small, ms", "one, ms", "extra MiB")
        columns = ("save", "load", "save", "load", "tensor", "row", "save", "load")
        return [f"{'':24}" + "".join(f"{group:^18}" for group in groups), f"{'':24}" + "".join(f"{column:>9}" for column in columns)]

    def _row(self, one: Measured) -> str:
        speeds = [best and self.large_bytes / 2**30 / best for best in (one.best(SAVE), one.best(LOAD))]
        times = [best and 1e3 * best for best in map(one.best, (SAVE_SMALL, LOAD_SMALL, TENSOR, ROW_OF))]
        extra = [one.extra_bytes.get(what) for what in (SAVE, LOAD)]
        cells = [f"{value:9.2f}" if value else f"{'-':>9}" for value in speeds]
        cells += [f"{value:9.1f}" if value else f"{'-':>9}" for value in times]
        cells += [f"{'-':>9}" if value is None else f"{value / 2**20:9.0f}" for value in extra]
        return f"{one.name:24}{''.join(cells)}"

    def _remarks(self) -> Iterator[str]:
        """Why there are dashes, and why the figures may be worth little."""
        if self.busy > _QUIET:
            yield f"{self.busy:.1f} other processes were running: two threads had less than two cores, ratios to what has one say little"
        for name, reason in self.absent.items():
            yield f"{name} did not take part: {reason}"
        for one in self.measured.values():
            for what, problem in one.problems.items():
                yield f"{one.name}, {what}: {problem}"
        yield ""

    def as_json(self) -> dict[str, Any]:
        """Everything measured, for `json.dump`."""
        return {
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
            "processors": os.cpu_count(),
            **asdict(self),
            "verdicts": [{**asdict(verdict), "met": verdict.met} for verdict in self.verdicts],
        }


def run(names: Sequence[str], *, size_bytes: int, tensors: int, small: int, repeat: int, folder: Path, memory: bool) -> Result:
    """Everything, for the contenders of these names as far as they can take part."""
    busy = os.getloadavg()[0]
    present: list[Contender] = []
    absent: dict[str, str] = {}
    for name in names:
        try:
            present.append(CONTENDERS[name]())
        except UnavailableError as error:
            absent[name] = str(error)
    progress("making tensors")
    large = workload.large(size_bytes, tensors)
    with tempfile.TemporaryDirectory(prefix="stfed-benchmark-", dir=folder) as inside:
        place = Path(inside)
        measured = measure(present, large, workload.small(small), place, repeat)
        reaches = ours.reach(large, place / "reach.bin") if any(one.kind is Kind.OURS for one in present) else {}
        made_bytes = large.size_bytes
        del large
        if memory:
            _measure_memory(measured, size_bytes, tensors, place)
    return Result(measured, absent, reaches, made_bytes, tensors, small, str(folder), machine.file_system(folder), repeat, busy)


def _measure_memory(measured: dict[str, Measured], size_bytes: int, tensors: int, folder: Path) -> None:
    for one in measured.values():
        for what in (SAVE, LOAD):
            if one.kind is Kind.LIMIT or one.problems.keys() & {SAVE, what}:
                continue
            progress(f"memory: {one.name}, {what}")
            extra = peak_extra_bytes(one.name, what, size_bytes, tensors, folder)
            if isinstance(extra, int):
                one.extra_bytes[what] = extra
            else:
                one.problems[f"memory of {what}"] = extra


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if somebody gave back wrong bytes or ours failed, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealed", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gib", type=float, default=1.0, help="size of the large set")
    parser.add_argument("--tensors", type=int, default=200, help="tensors in the large set, at least 3")
    parser.add_argument("--small", type=int, default=10_000, metavar="N", help="tensors of 1 KiB in the other set")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files lie; by default in memory, so that no disk decides")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), metavar="NAME", help="of: " + "; ".join(CONTENDERS))
    parser.add_argument("--no-memory", action="store_true", help="leave out the peaks of memory, which take a process each")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="bars of saving and loading, PNG or SVG")
    options = parser.parse_args(argv)
    if options.tensors < 3 or options.small < 1 or options.repeat < 1 or options.gib <= 0:
        parser.error("--tensors is at least 3, --small and --repeat at least 1, --gib more than 0")
    size_bytes = int(options.gib * 2**30)
    result = run(
        options.only or list(CONTENDERS),
        size_bytes=size_bytes, tensors=options.tensors, small=options.small, repeat=options.repeat,
        folder=options.folder or machine.folder_for(size_bytes), memory=not options.no_memory,
    )  # fmt: skip
    print(result)
    if options.json:
        options.json.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    if options.picture:
        picture.draw(list(result.measured.values()), result.large_bytes, result.title, options.picture)
    broken = failures(result.measured.values())
    for line in broken:
        print(f"error: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
