"""`stfed` and Flower's own secure aggregation on the same inputs, one after the other in one process.

    python -m benchmarks.compare                                                   the points that have targets, and some around them
    python -m benchmarks.compare --full                                            the whole grid, which takes hours
    python -m benchmarks.compare --parties 50 --parameters 100000 --graph sparse   one point

Both sides use the same graph, number of neighbours k and threshold t, get the same models and weights and lose the same parties: those
answer everything before the masked vector and nothing from there on. `README.md` says what is timed and how to read the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import flower_secagg
from benchmarks.files.machine import available_bytes
from benchmarks.line import Line, Section
from benchmarks.points import DEFAULT, GRID, QUICK, Point
from benchmarks.progress import progress
from stfed.bench import round as stfed_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Spent
from stfed.errors import LocalError

WHOLE = "whole round"


@dataclass(frozen=True)
class Row:
    """A role's time on both sides."""

    name: str
    flower: Spent
    stfed: Spent

    @property
    def ratio(self) -> float:
        """How many times longer the peer takes: the lower one of both clocks, so that neither waiting nor a neighbour's load counts."""
        return min(self.flower.wall_s / self.stfed.wall_s, self.flower.process_s / self.stfed.process_s)


@dataclass(frozen=True)
class Comparison:
    """One round of each."""

    point: Point
    stfed: stfed_round.Result
    flower: flower_secagg.Result

    @property
    def rows(self) -> list[Row]:
        """Coordinator, all parties, and both together."""
        rows = [Row(role, self.flower.times.of(role), self.stfed.times.of(role)) for role in (COORDINATOR, PARTIES)]
        return [*rows, Row(WHOLE, rows[0].flower + rows[1].flower, rows[0].stfed + rows[1].stfed)]

    @property
    def wrong(self) -> list[str]:
        """A mean that is further from the true one than its encoding promises, in a sentence."""
        sides = (("Flower", self.flower), ("stfed", self.stfed))
        return [f"{self.point}: {name}'s mean is off by {side.error:.2e}" for name, side in sides if not side.exact]

    def lines(self) -> list[Line]:
        """The ratios, with targets where this point has any; the last one says where our time goes."""
        return [
            Line(
                f"{self.point}: {row.name}, Flower / stfed", row.ratio, "x", self.point.targets.get(row.name), "more",
                f"{row.flower.process_s:.2f} s and {row.stfed.process_s:.3f} s of processor time"
                + (f", of ours {self._most()}" if row.name == WHOLE else ""),
            )
            for row in self.rows
        ]  # fmt: skip

    def _most(self) -> str:
        """Our longest steps."""
        longest = sorted(self.stfed.times.steps.items(), key=lambda item: -item[1].process_s)[:3]
        return ", ".join(f"{role} {step} {spent.process_s:.2f}" for (role, step), spent in longest)

    def as_json(self) -> dict[str, Any]:
        """Everything measured."""
        return {
            **self.point.as_json(),
            "stfed": self.stfed.as_json(),
            "flower": self.flower.as_json(),
            "ratios": {row.name: row.ratio for row in self.rows},
        }


def compare(point: Point, *, threads: int = 1) -> Comparison:
    """Both rounds, ours first.

    Raises:
        LocalError: the point's k and t are no parameters for its parties.
    """
    parameters, workload = point.parameters(), point.workload()
    progress(f"{point}: k = {parameters.k}, t = {parameters.t}")
    ours = stfed_round.run_round(workload, parameters, threads=threads, tell=progress)
    return Comparison(point, ours, flower_secagg.run_round(workload, shares=parameters.k + 1, threshold=parameters.t))


def run(points: Sequence[Point], *, threads: int = 1, quick: bool = False) -> Section:
    """All points, each in a process of its own, so that one which runs out of memory takes no other with it."""
    lines, data, wrong = list[Line](), list[dict[str, Any]](), list[str]()
    for point in points:
        try:
            lines_, data_, wrong_ = _alone(point, threads)
        except LocalError as error:
            reason = error.message
        except BrokenProcessPool:
            reason = "its process was ended from outside, most likely for want of memory"
        else:
            lines, data, wrong = lines + lines_, [*data, data_], wrong + wrong_
            continue
        lines += [Line(f"{point}: {name}, Flower / stfed", None, "x", target, "more", reason) for name, target in point.wanted()]
        data.append({**point.as_json(), "not_measured": reason})
    title = f"stfed beside Flower SecAgg+, same graph, k and t on both sides; {threads} thread(s)"
    return Section("peers", title, lines, {"points": data, "plots": [_plot(data)]}, quick, wrong)


def _plot(data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The whole round on both sides, at every point that could be measured."""
    measured = [one for one in data if "stfed" in one]
    words = [f"n = {one['n']}\nd = {one['d']:.0e}\n{one['graph']}\n{one['dropout']:.0%} drop" for one in measured]
    seconds = {side: [sum(step["process_s"] for step in one[side]["steps"]) for one in measured] for side in ("flower", "stfed")}
    names = {"flower": "Flower SecAgg+", "stfed": "stfed"}
    series = [{"name": names[side], "bars": True, "x": words, "y": values} for side, values in seconds.items()]
    title = "a round, all parties and the coordinator"
    return {"name": "rounds", "title": title, "x": "", "y": "processor seconds", "log": "y", "series": series}


def _alone(point: Point, threads: int) -> tuple[list[Line], dict[str, Any], list[str]]:
    if point.need_bytes > available_bytes():
        raise LocalError(f"it needs about {point.need_bytes / 2**30:.0f} GiB of memory, {available_bytes() / 2**30:.0f} GiB are free")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, point, threads).result()


def _measured(point: Point, threads: int) -> tuple[list[Line], dict[str, Any], list[str]]:
    comparison = compare(point, threads=threads)
    return comparison.lines(), comparison.as_json(), comparison.wrong


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a mean is wrong, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help=f"all {len(GRID)} points; hours, nearly all of them the peer's")
    parser.add_argument("--quick", action="store_true", help="10 parties x 20,000 parameters on both graphs: seconds")
    parser.add_argument("--parties", type=int, help="one point instead, of so many parties")
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--graph", choices=("complete", "sparse"), default="complete")
    parser.add_argument("--dropout", type=float, default=0.1, help="share of the parties that drop after PREPARE")
    parser.add_argument("--threads", type=int, default=1, help="for masking and unmasking in stfed; the peer has one")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    if options.parties is not None:
        points: Sequence[Point] = [Point(options.parties, options.parameters, options.graph, options.dropout)]
    else:
        points = QUICK if options.quick else GRID if options.full else DEFAULT
    return run(points, threads=options.threads, quick=options.quick).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
