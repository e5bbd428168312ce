"""Hundreds of parties on Flower's simulation runtime: what a round costs there, and which part of that is ours.

    python -m benchmarks.simulation --parties 300

One run of one app, so that the same processes do everything: messages with nothing in them, which is what Flower and Ray take for moving
them; plain FedAvg; the same training in secure rounds. A secure round is then taken apart: its messages beyond those of a plain round, at
the price of empty ones, is the runtime's part, and the rest is ours.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from flwr.app import Context, RecordDict

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.errors import StfedError
from stfed.flower.runtime import SimulationRuntime, tail
from stfed.flower.store import SqliteStore

ROOT = Path(__file__).parents[1]
RUN_FILE = ROOT / "configs" / "hundreds.toml"
MEMORY = Path("/dev/shm")
_TIMEOUT_S = 1800.0
_RECORD_BYTES = 8192
_APP = '''"""What Flower loads; the apps themselves are in the benchmarks."""

from benchmarks.simulated import client, server

__all__ = ["client", "server"]
'''
_PYPROJECT = """[project]
name = "simulated"
version = "1.0.0"
description = "The app of benchmarks.simulation"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "stfed"

[tool.flwr.app.components]
serverapp = "simulated.app:server"
clientapp = "simulated.app:client"

[tool.flwr.app.config]
"""


@dataclass(frozen=True)
class Run:
    """What a run took, in seconds.

    Attributes:
        superlink_s: until Flower's SuperLink answers.
        app_s: from then until the ServerApp's first line.
        first_s: the first message to everybody, which waits for Ray and lets its processes import what they need.
        empty: a message with nothing in it to everybody and back: seconds, seconds of processor time and messages, each time.
        plain, secure: likewise, each round. In the first plain one the data is dealt out, in the first secure one all join.
        reports: of the secure rounds.
    """

    parties: int
    superlink_s: float
    app_s: float
    first_s: float
    empty: list[dict[str, float]]
    plain: list[dict[str, float]]
    secure: list[dict[str, float]]
    reports: list[dict[str, Any]]

    def steady(self, kind: str) -> dict[str, float]:
        """The middle one of what is left without the first."""
        rounds: list[dict[str, float]] = getattr(self, kind)[1:]
        return {key: median(row[key] for row in rounds) for key in rounds[0]}


def run(config: Mapping[str, Any], folder: Path, *, parties_at_once: int | None, durable: bool) -> Run:
    """Runs the app.

    Args:
        config: a run file's values.
        folder: for the app and everything that Flower writes.
        parties_at_once: how many parties work at the same time; None for one a processor.
        durable: whether their state is on the disk.

    Raises:
        StfedError: the run did not get to its end.
    """
    app, parties = folder / "simulated", int(config["num-parties"])
    (app / "simulated").mkdir(parents=True)
    values = {**config, "run-dir": str(folder)}
    (app / "pyproject.toml").write_text(_PYPROJECT + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    (app / "simulated" / "app.py").write_text(_APP)
    (app / "simulated" / "__init__.py").write_text('"""The app of benchmarks.simulation."""\n')
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    started = time.time()
    with SimulationRuntime(folder / "work", durable=durable) as runtime:
        ready = time.time()
        progress(f"{parties} parties: Flower and Ray start; log in {runtime.run_log}")
        runtime.start_run(app, values, parties, parties_at_once=parties_at_once)
        while not runtime.finished():
            if time.time() - ready > _TIMEOUT_S:
                raise StfedError(f"the run takes longer than {_TIMEOUT_S:g} s:\n{tail(runtime.run_log)}")
            time.sleep(0.2)
        log = folder / "events.jsonl"
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        if not events or events[-1]["event"] != "end":
            raise StfedError(f"the run did not get to its end:\n{tail(runtime.run_log, 40)}")
    of = {event["event"]: event for event in events}
    return Run(
        parties=parties,
        superlink_s=ready - started,
        app_s=of["main"]["time"] - ready,
        first_s=of["first"]["seconds"],
        empty=[{key: event[key] for key in ("seconds", "core_seconds", "messages")} for event in events if event["event"] == "empty"],
        plain=of["plain"]["rounds"],
        secure=of["secure"]["rounds"],
        reports=of["secure"]["reports"],
    )


def lines(result: Run, store: Mapping[str, float]) -> list[Line]:
    """The table."""
    n, first = result.parties, result.secure[0]
    empty, plain, secure = (result.steady(kind) for kind in ("empty", "plain", "secure"))
    more = secure["messages"] - plain["messages"]
    ours_s, ours_core_s = (secure[key] - plain[key] - more * empty[key] / n for key in ("seconds", "core_seconds"))
    joined = f"the first one, with JOIN: {first['messages'] / n:.2f} messages in {first['seconds']:.1f} s"
    return [
        Line("start-up: Flower's SuperLink", result.superlink_s, "s"),
        Line("start-up: until the ServerApp runs", result.app_s, "s", note="flwr run, and its process"),
        Line("start-up: first message to everybody", result.first_s, "s", note="Ray's processes start, and import torch"),
        Line("an empty message and its reply", 1e3 * empty["seconds"] / n, "ms", note=f"Flower and Ray; of {len(result.empty)} trips"),
        Line("  processor time of it", 1e3 * empty["core_seconds"] / n, "core ms"),
        Line("a plain FedAvg round", plain["seconds"], "s", note=f"{plain['messages'] / n:.2f} messages a party"),
        Line("  processor time of it", plain["core_seconds"], "core s", note=f"{empty['core_seconds']:.1f} of it for moving messages"),
        Line("a secure round", secure["seconds"], "s", note=f"{secure['messages'] / n:.2f} messages a party; {joined}"),
        Line("  processor time of it", secure["core_seconds"], "core s"),
        Line(
            "  of it: messages beyond a plain round's",
            more * empty["core_seconds"] / n,
            "core s",
            note="Flower and Ray, at the price of empty ones",
        ),
        Line("  of it: ours", ours_core_s, "core s", note=f"{1e3 * ours_core_s / n:.1f} ms a party"),
        Line("  of it: ours, on the clock", ours_s, "s", note=f"{1e3 * ours_s / secure['messages']:.1f} ms a message"),
        Line("secure / plain, on the clock", secure["seconds"] / plain["seconds"], "x"),
        Line("secure / plain, processor time", secure["core_seconds"] / plain["core_seconds"], "x"),
        *(Line(f"a party's state, {name}", 1e3 * seconds, "ms", note="one transaction") for name, seconds in store.items()),
    ]


def store_seconds(disk: Path, memory: Path, transactions: int) -> dict[str, float]:
    """Seconds of one transaction of a party's state, alone and of two processes on the same file, as all parties of a machine are."""
    return {
        f"{where}, {processes} at once": _in_processes(folder / f"store-{processes}", processes, transactions)
        for where, folder in (("disk", disk), ("memory", memory))
        for processes in (1, 2)
    }


def _in_processes(folder: Path, processes: int, transactions: int) -> float:
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        pool.starmap(_transactions, [(folder, at, 1) for at in range(processes)])
        start = time.perf_counter()
        pool.starmap(_transactions, [(folder, 100 + at, transactions) for at in range(processes)])
        return (time.perf_counter() - start) / transactions


def _transactions(folder: Path, node: int, count: int) -> None:
    context = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
    store = SqliteStore.of(context, folder)
    for at in range(count):
        with store.transaction(1) as transaction:
            transaction.position()
            transaction.write(1, at + 1, bytes(_RECORD_BYTES))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a run does not get to its end, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parties", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--at-once", type=int, help="parties that work at the same time (default: one a processor)")
    parser.add_argument("--durable", action="store_true", help="keep the parties' state on the disk, not in memory")
    parser.add_argument("--quick", action="store_true", help="8 parties, 2 rounds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    config = tomllib.loads(RUN_FILE.read_text())
    at_once = options.at_once or os.cpu_count()
    config |= {"num-parties": options.parties, "num-server-rounds": options.rounds, "drop-per-round": 0}
    if options.quick:
        config |= {"num-parties": 8, "num-server-rounds": 2, "dataset": "breast-cancer"}
    with tempfile.TemporaryDirectory(prefix="stfed-simulation-", ignore_cleanup_errors=True) as folder:
        try:
            result = run(config, Path(folder), parties_at_once=options.at_once, durable=options.durable)
        except StfedError as error:
            print(f"error: {error.message}", file=sys.stderr)
            return 1
        progress("the parties' store")
        with tempfile.TemporaryDirectory(prefix="stfed-store-", dir=MEMORY if MEMORY.exists() else None) as memory:
            store = store_seconds(Path(folder), Path(memory), 20 if options.quick else 200)
    wrong = [f"round {report['round']}: {report['failure']}" for report in result.reports if report["failure"]]
    wrong += [
        f"round {report['round']} summed {len(report['summed'])} of {result.parties} parties"
        for report in result.reports
        if len(report["summed"]) != result.parties and not report["failure"]
    ]
    title = f"{result.parties} parties on Flower's simulation runtime, {os.cpu_count()} processors, {at_once} parties at once"
    data = {"run": {**result.__dict__, "reports": result.reports}, "store_s": store, "parties_at_once": at_once}
    return Section("simulation", title, lines(result, store), data, quick=options.quick, wrong=wrong).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
