"""One whole round of `stfed` in one process, every part of it timed: `python -m benchmarks.round --parties 100 --parameters 1000000`.

The round is `stfed.bench.round`, which says what runs and what is left out; here it is held against the limits of the machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.progress import progress
from stfed.bench import limits
from stfed.bench.limits import Limits
from stfed.bench.round import Result, run_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES
from stfed.bench.workload import Workload
from stfed.secagg.params import choose


def figures(result: Result, limit: Limits) -> list[tuple[str, float, str]]:
    """(name, measured, target) of what is worth watching; all of it process time, which neighbours on the machine disturb least.

    The targets are for 100 parties x 1,000,000 parameters on the complete graph.
    """
    times, parties, masks = result.times, result.workload.parties, result.parameters.k + 1
    seal, recover_s = times.of(PARTIES, "seal"), times.of(COORDINATOR, "recover", "decode").process_s
    seal_s, light_s = seal.process_s / seal.calls, times.of(PARTIES, "join", "prepare", "unmask").process_s
    limit_s = 1e-9 * limit.mask_ns * result.words
    return [
        ("limit: keystream, ns a word", limit.keystream_ns, ""),
        ("limit: addition, ns a word", limit.add_ns, ""),
        ("a party's masking / limit of its k + 1 masks", (seal_s - result.encode_s) / (limit_s * masks), "1.25"),
        ("coordinator's unmask / limit of its masks", recover_s / (limit_s * result.masks_removed), "1.25"),
        ("encode and pack, ns a parameter", 1e9 * result.encode_s / result.workload.parameters, "3"),
        ("JOIN, PREPARE and UNMASK, ms a party", 1e3 * light_s / parties, "6"),
    ]


def report(result: Result, limit: Limits) -> str:
    """The steps of a round, and its `figures`."""
    lines = [
        f"{result.workload.parties} parties x {result.workload.parameters:,} parameters, {result.parameters.graph} graph, "
        f"k = {result.parameters.k}, t = {result.parameters.t}, {len(result.workload.dropped)} drop after PREPARE, "
        f"{result.threads} thread(s)",
        f"largest error of the mean {result.error:.2e}, promised {result.error_bound:.2e}",
        "",
        *result.times.table(),
        "",
        f"{'in process time':46}{'measured':>10}{'at most':>10}",
        *(f"{name:46}{value:10.3f}{target:>10}" for name, value, target in figures(result, limit)),
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.round", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parties", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--graph", choices=("complete", "sparse"), default="complete")
    parser.add_argument("--threshold", type=int, help="t; by default the calculator's")
    parser.add_argument("--gamma", type=float, default=0.1, help="share of corrupt parties")
    parser.add_argument("--delta", type=float, default=0.1, help="share of parties that may drop")
    parser.add_argument("--dropout", type=float, default=0.1, help="share of parties that do drop, after PREPARE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sharing", action="store_true", help="thousands of parties: what all of them keep and compute alike, once")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    parameters = choose(options.parties, options.gamma, options.delta, graph=options.graph, t=options.threshold)
    limit = limits.measure()
    workload = Workload(options.parties, options.parameters, options.dropout)
    result = run_round(workload, parameters, threads=options.threads, sharing=options.sharing, tell=progress)
    print(report(result, limit))
    if options.json:
        options.json.write_text(json.dumps({"limits": asdict(limit), "stfed": result.as_json()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
