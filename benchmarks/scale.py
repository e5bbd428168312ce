"""How the coordinator's work grows with parties n, neighbours k and parameters d: `python -m benchmarks.scale`.

Real rounds on the sparse graph of semi-honest mode, k and t from the calculator, 5 % corrupt, 5 % dropped after PREPARE. Three questions:

- *Growth.* What a coordinator does per coordinate (sum, unmask, decode) against d, what it does per message (JOIN, PREPARE, TRAIN, UNMASK)
  against n * k; the slope of the logarithms is the exponent, 1 for linear. What it does per message has a part in n and a part in n * k,
  so with k alone the time grows less than in proportion: both parts are fitted and named.
- *Size.* 1,000 parties x 1,000,000 parameters, and 10,000 x 100,000, the coordinator in a process of its own: its unmask, from the last
  reply to the mean, against the keystream and the additions that it consists of; its peak memory.
- *Parties.* Nothing is left out: every party agrees on its keys, deals, checks, encodes, masks and packs. What thousands of parties in one
  process have in common is kept and computed once (`LocalCrowd`): the directory, the cohort and U1 in their stores, the check of the
  directory, the digest of the cohort, the calculator's answer. A party with a process of its own pays for these besides, and the line
  "what a party alone pays" says how much.

All times are process time. The whole takes ten minutes on a quiet machine, nearly all of it for 11,000 parties.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.apart import Apart, round_apart
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.bench import limits
from stfed.bench.limits import Limits
from stfed.bench.round import Result, run_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES
from stfed.bench.workload import Workload
from stfed.secagg.params import Parameters, choose

SHARE = 0.05
"""Of the parties: corrupt at most, dropping at most, and dropping in fact."""
_LIGHT = ("join", "prepare", "train", "unmask")
_HEAVY = ("sum", "recover", "decode")


@dataclass(frozen=True)
class Sizes:
    """Which rounds are run.

    Attributes:
        by_parameters: one n, and several d.
        by_parties: several n at the calculator's k, and d.
        by_neighbours: one n, several k, and d.
        large: (n, d) with the coordinator apart; the first is held against the target for the unmask.
    """

    by_parameters: tuple[int, tuple[int, ...]] = (200, (100_000, 300_000, 1_000_000, 3_000_000))
    by_parties: tuple[tuple[int, ...], int] = ((250, 500, 1000, 2000), 1000)
    by_neighbours: tuple[int, tuple[int, ...], int] = (500, (30, 60, 120, 240), 1000)
    large: tuple[tuple[int, int], ...] = ((1000, 1_000_000), (10_000, 100_000))


QUICK = Sizes((40, (20_000, 40_000)), ((40, 60), 200), (40, (12, 20), 200), ((40, 20_000), (60, 5_000)))


def parameters_of(n: int, k: int | None = None) -> Parameters:
    """Those of the calculator on the sparse graph; with this k if it is given."""
    return choose(n, SHARE, SHARE, graph="sparse", k=k)


def sample(n: int, d: int, k: int | None = None) -> Result:
    """One round in this process."""
    progress(f"scale: {n} parties x {d:,} parameters" + ("" if k is None else f", k = {k}"))
    return run_round(Workload(n, d, SHARE), parameters_of(n, k), sharing=True, tell=progress)


def light_s(result: Result) -> float:
    """Process seconds of the coordinator on messages."""
    return result.times.of(COORDINATOR, *_LIGHT).process_s


def heavy_s(result: Result) -> float:
    """Process seconds of the coordinator on vectors."""
    return result.times.of(COORDINATOR, *_HEAVY).process_s


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """p of the power law y = a x^p that is nearest in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def two_parts(results: Sequence[Result]) -> tuple[float, float, float]:
    """Microseconds a party and a party-neighbour on messages, by least squares of the relative errors; and the largest of these errors."""
    counts = np.array([(result.workload.parties, result.workload.parties * result.parameters.k) for result in results], float)
    times_us = 1e6 * np.array([light_s(result) for result in results])
    weighted: NDArray[np.float64] = counts / times_us[:, None]
    (party, neighbour), *_ = np.linalg.lstsq(weighted, np.ones(len(results)), rcond=None)
    return float(party), float(neighbour), float(np.abs(weighted @ (party, neighbour) - 1).max())


def unmask_ratio(result: Result, limit: Limits) -> float:
    """From the last UNMASK reply to the mean, over the keystream and the additions of all masks that come off."""
    return result.times.of(COORDINATOR, "recover", "decode").process_s / (1e-9 * limit.mask_ns * result.words * result.masks_removed)


def growth(sizes: Sizes) -> tuple[list[Line], list[dict[str, Any]], list[Result]]:
    """The lines and plots about growth, and the rounds behind them."""
    n, lengths = sizes.by_parameters
    along_d = [sample(n, d) for d in lengths]
    counts, small = sizes.by_parties
    along_n = [sample(count, small) for count in counts]
    fixed, degrees, small_too = sizes.by_neighbours
    along_k = [sample(fixed, small_too, k) for k in degrees]

    x_d, y_d = [float(d) for d in lengths], [heavy_s(result) for result in along_d]
    x_n, y_n = _pairs_and_light(along_n)
    x_k, y_k = _pairs_and_light(along_k)
    party_us, neighbour_us, off = two_parts([*along_n, *along_k])
    ks = f"k = {along_n[0].parameters.k} to {along_n[-1].parameters.k}"
    lines = [
        Line("exponent in d of the coordinator's time on vectors", exponent(x_d, y_d), "", 1.1, note=f"n = {n}, d = {_range(lengths)}"),
        Line("exponent in n k of its time on messages, n growing", exponent(x_n, y_n), "", 1.1, note=f"n = {_range(counts)}, {ks}"),
        Line("exponent in n k of its time on messages, k growing", exponent(x_k, y_k), "", 1.1, note=f"n = {fixed}, k = {_range(degrees)}"),
        Line("time on messages a party", party_us, "us", note="fitted"),
        Line("time on messages a party and neighbour", neighbour_us, "us", note=f"fitted; the two explain every round to {off:.0%}"),
    ]
    plots = [
        _plot("parameters", f"coordinator's time on vectors, {n} parties", "parameters d", {"sum, unmask, decode": (x_d, y_d)}),
        _plot("pairs", "coordinator's time on messages", "parties x neighbours, n k", {"n grows": (x_n, y_n), "k grows": (x_k, y_k)}),
    ]
    return lines, plots, [*along_d, *along_n, *along_k]


def _plot(name: str, title: str, x: str, points: dict[str, tuple[list[float], list[float]]]) -> dict[str, Any]:
    """Points on logarithmic axes, and the line of exponent 1 through the middle of the first series."""
    first_x, first_y = next(iter(points.values()))
    factor = float(np.exp(np.mean(np.log(first_y) - np.log(first_x))))
    every = [value for xs, _ in points.values() for value in xs]
    ends = [min(every), max(every)]
    series: list[dict[str, Any]] = [{"name": label, "x": xs, "y": ys} for label, (xs, ys) in points.items()]
    series.append({"name": "exponent 1", "x": ends, "y": [factor * end for end in ends], "line": True})
    return {"name": name, "title": title, "x": x, "y": "process seconds", "log": "xy", "series": series}


def _pairs_and_light(results: Sequence[Result]) -> tuple[list[float], list[float]]:
    return [float(result.workload.parties * result.parameters.k) for result in results], [light_s(result) for result in results]


def _range(values: Sequence[int]) -> str:
    return f"{values[0]:,} to {values[-1]:,}"


def large(n: int, d: int, limit: Limits, *, aimed: bool) -> tuple[list[Line], Apart]:
    """A round with the coordinator apart."""
    progress(f"scale: {n:,} parties x {d:,} parameters, the coordinator in its own process")
    apart = round_apart(Workload(n, d, SHARE), parameters_of(n))
    result, size = apart.result, f"{n:,} x {d:,}"
    parties, k = result.times.of(PARTIES), result.parameters.k
    model_bytes, own = 4 * result.words, result.times.of(COORDINATOR)
    each_bytes = (apart.peak_bytes - _MODELS * model_bytes) / (n * k)
    masks = f"k = {k}, t = {result.parameters.t}; {result.masks_removed:,} masks"
    lines = [
        Line(f"{size}: unmask / limit of its masks", unmask_ratio(result, limit), "x", 1.25 if aimed else None, note=masks),
        Line(f"{size}: coordinator, all steps", own.process_s, "s"),
        Line(f"{size}: coordinator's peak memory", apart.peak_bytes / 2**20, "MiB", note=f"a model is {model_bytes / 2**20:.1f} MiB"),
        Line(f"{size}: beyond {_MODELS} models, a party and neighbour", each_bytes, "bytes", 1024),
        Line(f"{size}: a party, all steps", 1e3 * parties.process_s / n, "ms"),
        Line(f"{size}: all parties and the coordinator", parties.wall_s + own.wall_s, "s", note="wall time"),
    ]
    return lines, apart


_MODELS = 5
"""That a coordinator holds at its peak: the one that it sent, the running sum, a reply with the memory it came in, and the mean."""


def run(sizes: Sizes, *, quick: bool = False) -> Section:
    """The section."""
    limit = limits.measure()
    lines, plots, results = growth(sizes)
    peaks = {}
    for at, (n, d) in enumerate(sizes.large):
        found, apart = large(n, d, limit, aimed=at == 0)
        lines += found
        results.append(apart.result)
        peaks[f"{n} x {d}"] = apart.peak_bytes
    wrong = [
        f"{result.workload.parties} parties x {result.workload.parameters} parameters: the mean is off by {result.error:.2e}"
        for result in results
        if not result.exact
    ]
    data = {"limit": vars(limit), "rounds": [result.as_json() for result in results], "peak_bytes": peaks, "plots": plots}
    title = f"sparse graph, k from the calculator, {SHARE:.0%} corrupt, {SHARE:.0%} dropped; process time on one core"
    return Section("scale", title, lines, data, quick, wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a mean is wrong; never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small rounds: some seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    return run(QUICK if options.quick else Sizes(), quick=options.quick).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
