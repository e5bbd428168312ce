"""`stfed` and Flower's own secure aggregation on the same inputs, one after the other in one process.

    python -m benchmarks.compare --parties 100 --parameters 1000000 --threshold 60 --dropout 0.1

Both on the complete graph. The parties that drop answer everything before the masked vector and nothing from there on. `README.md` says
what is timed and how to read the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import flower_secagg, limits
from benchmarks import round as stfed_round
from benchmarks.limits import Limits
from benchmarks.stopwatch import COORDINATOR, PARTIES, Spent
from benchmarks.workload import Workload
from stfed.errors import LocalError
from stfed.secagg.params import choose

TARGETS = {COORDINATOR: 100, "whole round": 30}
"""How many times longer the peer takes, at the size below; smaller rounds have no target, there is too little to win."""
TARGET_SIZE = (100, 1_000_000, 60, 0.1)
"""Parties, parameters, threshold, dropout."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    flower: Spent
    stfed: Spent
    target: int | None = None

    @property
    def ratios(self) -> dict[str, float]:
        """How many times longer the peer takes."""
        return {"wall": self.flower.wall_s / self.stfed.wall_s, "process": self.flower.process_s / self.stfed.process_s}

    def __str__(self) -> str:
        wall = f"{self.flower.wall_s:12.3f}{self.stfed.wall_s:10.3f}{self.ratios['wall']:9.1f}"
        process = f"{self.flower.process_s:12.3f}{self.stfed.process_s:10.3f}{self.ratios['process']:9.1f}"
        verdict = "" if self.target is None else f"   > {self.target}, {'met' if min(self.ratios.values()) > self.target else 'missed'}"
        return f"{self.name:12}{wall}{process}{verdict}"


@dataclass(frozen=True)
class Comparison:
    """One round of each."""

    limit: Limits
    stfed: stfed_round.Result
    flower: flower_secagg.Result

    @property
    def rows(self) -> list[Row]:
        """Coordinator, all parties, and both together."""
        workload = self.stfed.workload
        size = (workload.parties, workload.parameters, self.stfed.parameters.t, workload.dropout)
        targets = TARGETS if size == TARGET_SIZE else {}
        times = {role: (self.flower.times.of(role), self.stfed.times.of(role)) for role in (COORDINATOR, PARTIES)}
        times["whole round"] = (times[COORDINATOR][0] + times[PARTIES][0], times[COORDINATOR][1] + times[PARTIES][1])
        return [Row(name, flower, stfed, targets.get(name)) for name, (flower, stfed) in times.items()]

    @property
    def exact(self) -> bool:
        """Whether both means are as near to the true one as their encodings promise."""
        return self.stfed.exact and self.flower.exact

    def __str__(self) -> str:
        lines = [stfed_round.report(self.stfed, self.limit), "", "Flower SecAgg+", *self.flower.times.table(), ""]
        lines += [f"{'':12}{'wall s':^31}{'process s':^31}", f"{'':12}" + f"{'Flower':>12}{'stfed':>10}{'ratio':>9}" * 2 + "   target"]
        lines += map(str, self.rows)
        lines += ["", f"{'':12}{'largest error of the mean':>28}{'promised':>12}"]
        for name, result in (("Flower", self.flower), ("stfed", self.stfed)):
            lines.append(f"{name:12}{result.error:28.2e}{result.error_bound:12.2e}   {'right' if result.exact else 'WRONG'}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Everything measured, for `json.dump`."""
        return {
            "versions": {"python": platform.python_version(), **{name: version(name) for name in ("flwr", "cryptography", "numpy")}},
            "processors": os.cpu_count(),
            "limits": asdict(self.limit),
            "stfed": self.stfed.as_json(),
            "flower": self.flower.as_json(),
            "ratios": {row.name: {**row.ratios, "target": row.target} for row in self.rows},
            "exact": self.exact,
        }


def compare(workload: Workload, threshold: int, *, threads: int = 1) -> Comparison:
    """Both rounds, ours first.

    Raises:
        LocalError: t is no threshold for so many parties.
    """
    # No share of corrupt parties is assumed: t is given, and on a complete graph it is the whole of the promise.
    parameters = choose(workload.parties, 0.0, workload.dropout, graph="complete", t=threshold)
    limit = limits.measure()
    ours = stfed_round.run_round(workload, parameters, threads=threads)
    return Comparison(limit, ours, flower_secagg.run_round(workload, threshold=threshold / workload.parties))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a mean is wrong, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parties", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=int, default=60, help="shares that reconstruct a secret")
    parser.add_argument("--dropout", type=float, default=0.1, help="share of the parties that drop after PREPARE")
    parser.add_argument("--threads", type=int, default=1, help="for masking and unmasking in stfed; the peer has one")
    parser.add_argument("--quick", action="store_true", help="10 parties x 100,000 parameters, t = 6: seconds instead of minutes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    if options.quick:
        options.parties, options.parameters, options.threshold = 10, 100_000, 6
    try:
        result = compare(Workload(options.parties, options.parameters, options.dropout), options.threshold, threads=options.threads)
    except LocalError as error:
        parser.error(str(error))
    print(result)
    if options.json:
        options.json.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    return 0 if result.exact else 1


if __name__ == "__main__":
    sys.exit(main())
