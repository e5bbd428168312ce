"""What secure aggregation costs beside none at all: Flower's plain weighted average of the same models, in the same process.

    python -m benchmarks.fedavg

Plain means Flower's own: a party puts its model into an `ArrayRecord`, which serialises it, and the coordinator gives all of them to the
function that `FedAvg` averages with. Nobody drops. Like everywhere here, training and transport are left out on both sides, so
this is the harshest comparison there is: adding up numbers is all that is left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.bench import round as stfed_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Stopwatch
from stfed.bench.workload import NAME, Workload
from stfed.secagg.params import choose

WEIGHT = "num-examples"
_ROUNDING = 1e-6
"""Of a weighted mean of numbers under 1 that is summed up in single precision."""
_SIZES, _QUICK = ((10, 1_000_000), (100, 1_000_000)), ((5, 20_000),)


@dataclass(frozen=True)
class Result:
    """One plain round.

    Attributes:
        up_bytes: one party's serialised model; the same goes down.
        error: largest absolute error of a coordinate of the mean.
    """

    times: Stopwatch
    up_bytes: int
    error: float


def run_round(workload: Workload) -> Result:
    """Every party serialises its model, the coordinator averages."""
    times, records, up_bytes = Stopwatch(), list[RecordDict](), 0
    ours, theirs = partial(times.timing, COORDINATOR), partial(times.timing, PARTIES)
    progress(f"plain FedAvg: {workload.parties} parties")
    for party in range(workload.parties):
        trained = workload.trained(party)
        with theirs("serialise"):
            array = Array(trained[NAME])  # in numpy's format, as bytes
            records.append(RecordDict({"arrays": ArrayRecord({NAME: array}), "metrics": MetricRecord({WEIGHT: workload.weight(party)})}))
        up_bytes = len(array.data)
    with ours("read and average"):
        mean = aggregate_arrayrecords(records, WEIGHT)
    return Result(times, up_bytes, workload.error(np.asarray(mean[NAME].numpy())))


def lines(workload: Workload, plain: Result, secure: stfed_round.Result) -> list[Line]:
    """What ours costs, as multiples of the plain round; there are no targets, secure training as a whole has one (`benchmarks.mnist`)."""
    size = f"n = {workload.parties}, d = {workload.parameters:,}"
    found = []
    for role in (COORDINATOR, PARTIES):
        mine, other = secure.times.of(role).process_s, plain.times.of(role).process_s
        each = 1 if role == COORDINATOR else workload.parties
        note = f"{1e3 * mine / each:.1f} ms and {1e3 * other / each:.1f} ms of processor time" + (" a party" if each > 1 else "")
        found.append(Line(f"{size}: {role}, stfed / plain FedAvg", mine / other, "x", note=note))
    note = f"{secure.upload_bytes / workload.parameters:.2f} and {plain.up_bytes / workload.parameters:.2f} bytes a parameter"
    return [*found, Line(f"{size}: bytes up, stfed / plain FedAvg", secure.upload_bytes / plain.up_bytes, "x", note=note)]


def run(sizes: Sequence[tuple[int, int]], *, quick: bool = False) -> Section:
    """The section."""
    found, data, wrong = list[Line](), list[dict[str, Any]](), list[str]()
    for parties, parameters in sizes:
        workload = Workload(parties, parameters)
        plain, secure = run_round(workload), stfed_round.run_round(workload, choose(parties, 0.1, 0.1), tell=progress)
        found += lines(workload, plain, secure)
        data.append({"n": parties, "d": parameters, "up_bytes": plain.up_bytes, "steps": plain.times.as_json(), "stfed": secure.as_json()})
        sides = (("FedAvg", plain.error <= _ROUNDING, plain.error), ("stfed", secure.exact, secure.error))
        wrong += [f"n = {parties}: the mean of {name} is off by {error:.2e}" for name, right, error in sides if not right]
    title = "stfed, 32 bits a parameter, beside Flower's plain weighted mean, in process"
    return Section("fedavg", title, found, {"sizes": data}, quick, wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a mean is wrong, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fedavg", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5 parties x 20,000 parameters: a second")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    return run(_QUICK if options.quick else _SIZES, quick=options.quick).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
