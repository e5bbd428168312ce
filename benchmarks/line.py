"""What every benchmark reports: lines that hold a measured figure against its target, in sections that print as one table and keep as JSON.

A section's module has `main(argv)` with `--quick` and `--json FILE`; it measures, makes a `Section` of its lines, and ends with
`return section.emit(options.json)`. A target that is missed stays in the table as missed, what could not be measured says why, and
neither is an error: only a wrong result is.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

Better = Literal["less", "more"]
_PACKAGES = ("cryptography", "flwr", "numpy", "ray", "tenseal", "torch", "triton")
_MARGIN = 1e-9  # of a target: a count that is exactly what it should be is not missed by the last bit of a division


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes:
        name: what was measured, in words that stand alone.
        measured: the figure; None if it could not be measured, and then `note` says why.
        unit: "ns", "MiB", "x" for a ratio, "" for a count.
        target: what it should be; None for a figure that only informs.
        better: whether less or more is better, so `target` is the most or the least.
        note: what a reader has to know beside the figure: the reason of a miss, the size it was measured at.
    """

    name: str
    measured: float | None
    unit: str = ""
    target: float | None = None
    better: Better = "less"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is no target or no figure."""
        if self.measured is None or self.target is None:
            return None
        away = self.measured - self.target if self.better == "less" else self.target - self.measured
        return away <= _MARGIN * abs(self.target)

    @property
    def verdict(self) -> str:
        """In a word; empty for a figure that only informs."""
        if self.measured is None:
            return "not measured"
        return {True: "met", False: "missed", None: ""}[self.met]

    def cells(self) -> tuple[str, str, str, str, str]:
        """Name, figure with its unit, target, verdict, note."""
        sign = "<=" if self.better == "less" else ">="
        target = "" if self.target is None else f"{sign} {self.target:g}"
        measured = "-" if self.measured is None else f"{number(self.measured)} {self.unit}".rstrip()
        return self.name, measured, target, self.verdict, self.note


def number(value: float) -> str:
    """Three digits that count, and every digit of what is greater."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1e-3 else f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


@dataclass(frozen=True)
class Section:
    """The lines of one benchmark, with what else it measured.

    Attributes:
        name: after which `python -m benchmarks --section` knows it.
        title: what was measured at which size, in a line.
        lines: in the order of the table.
        data: everything measured, for plots and for later questions; JSON values only.
        quick: the sizes were too small for the targets: the run shows that everything works, and nothing else.
        wrong: results that were not what they should be, in a sentence each; they fail the command.
    """

    name: str
    title: str
    lines: Sequence[Line]
    data: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    wrong: Sequence[str] = ()

    def __str__(self) -> str:
        head = ("", "measured", "target", "", "")
        rows = [head, *(line.cells() for line in self.lines)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        title = f"{self.name}: {self.title}" + (" (quick: too small for the targets)" if self.quick else "")
        table = [f"{n:{widths[0]}}  {m:>{widths[1]}}  {t:>{widths[2]}}  {v:{widths[3]}}  {note}".rstrip() for n, m, t, v, note in rows]
        return "\n".join([title, *table, *(f"WRONG: {sentence}" for sentence in self.wrong)])

    def as_json(self) -> dict[str, Any]:
        """The form that all sections share."""
        return {
            "section": self.name,
            "title": self.title,
            "quick": self.quick,
            "machine": machine(),
            "versions": versions(),
            "lines": [{**asdict(line), "met": line.met} for line in self.lines],
            "wrong": list(self.wrong),
            "data": dict(self.data),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Section:
        """What `as_json` kept, machine and versions apart."""
        lines = [Line(**{key: value for key, value in line.items() if key != "met"}) for line in kept["lines"]]
        return cls(kept["section"], kept["title"], lines, kept["data"], kept["quick"], kept["wrong"])

    def emit(self, file: Path | None = None) -> int:
        """Prints the table, keeps the JSON if there is a file for it, and says the exit code: 1 if a result was wrong."""
        print(self)
        if file is not None:
            file.write_text(json.dumps(self.as_json(), indent=1, allow_nan=False) + "\n")
        return 1 if self.wrong else 0


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how many others ran there in the minute before."""
    return {"processor": _processor(), "processors": os.cpu_count(), "load": round(os.getloadavg()[0], 2), "system": platform.system()}


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that figures depend on; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
