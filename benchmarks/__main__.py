"""Every benchmark, one after the other: a table of each with its targets, JSON and plots.

    python -m benchmarks                     about forty minutes; `--quick` shows in minutes that everything works
    python -m benchmarks --section peers     one section, or several
    python -m benchmarks --full              with every point of the comparison with Flower, which takes hours

A section runs in a process of its own: its memory is clean, and if it fails, the others do not. Its tables go to the standard output, its
progress to the other one. Exit code 1 means that a section failed or a result was wrong. A time never fails the command.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import picture
from benchmarks.line import Line, Section
from benchmarks.progress import progress

SECTIONS = {
    "party": "benchmarks.party",
    "scale": "benchmarks.scale",
    "bits": "benchmarks.bits",
    "adaptive": "benchmarks.adaptive",
    "noise": "benchmarks.noise",
    "gpu": "benchmarks.gpu",
    "peers": "benchmarks.compare",
    "ckks": "benchmarks.ckks",
    "encrypted": "benchmarks.encrypted",
    "fedavg": "benchmarks.fedavg",
    "mnist": "benchmarks.mnist",
    "dp": "benchmarks.dp_utility",
    "audit": "benchmarks.privacy_audit",
    "robust": "benchmarks.robust",
    "simulation": "benchmarks.simulation",
    "shards": "benchmarks.shards",
    "deployed": "benchmarks.deployed",
    "profile": "benchmarks.profiled",
}
"""Module by name, in the order in which they run."""
FULL = ("peers",)
"""Who knows `--full`."""
FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest"
_LIMIT_S, _QUICK_LIMIT_S = 3600.0, 600.0
_GOODBYE_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a section: what it measured, or why there is nothing."""

    name: str
    seconds: float
    section: Section | None
    failure: str = ""

    @property
    def right(self) -> bool:
        """Whether it came to its end with no wrong result."""
        return self.section is not None and not self.section.wrong

    def __str__(self) -> str:
        return f"{self.section}\n({self.seconds:.0f} s)" if self.section is not None else f"{self.name}: FAILED: {self.failure}"


def run(name: str, module: str, folder: Path, *, quick: bool = False, full: bool = False) -> Outcome:
    """One section, in a process of its own. Its JSON is folder/name.json, all that it printed folder/name.txt."""
    progress(f"=== {name}")
    kept, start = folder / f"{name}.json", time.monotonic()
    kept.unlink(missing_ok=True)
    flags = ["--quick"] * quick + ["--full"] * (full and not quick and name in FULL)
    limit_s = None if full else _QUICK_LIMIT_S if quick else _LIMIT_S
    with (folder / f"{name}.txt").open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", module, *flags, "--json", str(kept)], stdout=output)
        try:
            code, ended = process.wait(limit_s), ""
        except subprocess.TimeoutExpired:
            code, ended = _end(process), f"it was stopped after {limit_s:.0f} s, "
    seconds = time.monotonic() - start
    if kept.exists():
        section = Section.from_json(json.loads(kept.read_text()))
        if not code or section.wrong:
            return Outcome(name, seconds, section)
    return Outcome(name, seconds, None, f"{ended}exit code {code}; what it printed is in {output.name}")


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ends a section as Ctrl-C does, so that it can end what it started; then without asking."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(_GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """How many targets are met, and which ones are not."""
    lines = [(outcome.name, line) for outcome in outcomes if outcome.section is not None for line in outcome.section.lines]
    aimed: list[tuple[str, Line]] = [(name, line) for name, line in lines if line.target is not None]
    yield f"{sum(bool(line.met) for _, line in aimed)} of {len(aimed)} targets met"
    for name, line in aimed:
        if not line.met:
            what, measured, target, verdict, note = line.cells()
            yield f"  {verdict}: {name}, {what}: {measured} ({target})" + (f"; {note}" if note else "")
    for outcome in outcomes:
        if not outcome.right:
            yield f"  {'WRONG' if outcome.section is not None else 'FAILED'}: {outcome.name}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--section", nargs="+", choices=list(SECTIONS), metavar="NAME", help="of: " + ", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that everything works and is right, and nothing else")
    parser.add_argument("--full", action="store_true", help="the whole grid of the comparison with Flower, without a time limit")
    parser.add_argument("--out", type=Path, default=LATEST, metavar="FOLDER", help="for JSON, text and plots (default: %(default)s)")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in options.section or SECTIONS:
        outcomes.append(run(name, SECTIONS[name], options.out, quick=options.quick, full=options.full))
        print(outcomes[-1], end="\n\n", flush=True)
    for path in picture.draw_all([(one.name, one.section) for one in outcomes if one.section is not None], options.out):
        progress(f"plot: {path}")
    print(*summary(outcomes), sep="\n")
    return 0 if all(outcome.right for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
