"""Where the time of a deployed round goes: the way of the message that each trip waited for, cut into pieces that add up to the round.

| piece | from, to | whose |
|---|---|---|
| look | pushed to the SuperLink, fetched by the SuperNode | Flower: a SuperNode sleeps 3 s when it finds nothing |
| process | fetched, at the mods | Flower: SuperExec looks, a process starts, imports, unpacks the app, pulls the message |
| handler | in the mods and the train function | ours, and the function's |
| reply | out of the mods, at the SuperLink | Flower: the SuperNode looks every 0.5 s |
| collect | at the SuperLink, fetched by the ServerApp | the poll of whoever waits: Flower's 3 s, ours 0.05 to 0.5 s |
| between | fetched, next message pushed | the ServerApp: ours and the strategy's |
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from benchmarks.deployed_run import Measured

PIECES = ("look", "process", "handler", "reply", "collect", "between")
_FLOWER = "import flwr.supernode.cli.flwr_clientapp, flwr.clientapp"
_OURS = _FLOWER + "; from stfed.flower import secagg_mod"
_TRIES = 5
_CPU = "; import resource; use = resource.getrusage(resource.RUSAGE_SELF); print(use.ru_utime + use.ru_stime)"


def pieces(run_: Measured) -> tuple[float, ...]:
    """Seconds of each piece in a round, the mean over the steady rounds."""
    rounds = run_.steady_trips()
    following = [trip.sent for trips in rounds for trip in trips] + [run_.marks[-1]]
    totals = [0.0] * len(PIECES)
    for trip, (_, after) in zip([trip for trips in rounds for trip in trips], pairwise(following), strict=True):
        last = trip.last
        stamps = run_.stamps[last.message]
        assert last.fetched is not None
        assert last.answered is not None
        assert last.collected is not None
        moments = (trip.sent, last.fetched, stamps.entered, stamps.left, last.answered, last.collected, after)
        for at, (start, end) in enumerate(pairwise(moments)):
            totals[at] += (end - start) / len(rounds)
    return tuple(totals)


def _mean_pieces(measured: Sequence[Measured]) -> dict[str, list[float]]:
    """By what people call it, the mean over the turns."""
    runs: dict[str, list[tuple[float, ...]]] = {}
    for run_ in measured:
        runs.setdefault(run_.variant.name + (", with evaluation" if run_.setting.evaluate else ""), []).append(pieces(run_))
    return {name: [fmean(values) for values in zip(*turns, strict=True)] for name, turns in runs.items()}


def table(measured: Sequence[Measured]) -> str:
    """The pieces of a round, a row for each variant."""
    rows = _mean_pieces(measured)
    width = max(map(len, rows))
    head = f"{'seconds of a round':{width}}" + "".join(f"{piece:>9}" for piece in (*PIECES, "all"))
    return "\n".join(
        [head, *(f"{name:{width}}" + "".join(f"{value:9.2f}" for value in (*row, sum(row))) for name, row in rows.items()), ""]
    )


def plots(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """The table as stacked bars, for `benchmarks.picture`."""
    rows = _mean_pieces(measured)
    names = [name.replace(", ", "\n") for name in rows]
    series = [{"name": piece, "x": names, "y": [row[at] for row in rows.values()], "stack": True} for at, piece in enumerate(PIECES)]
    return [{"name": "where", "title": "Where the time of a deployed round goes", "x": "", "y": "s", "log": "", "series": series}]


def import_s() -> tuple[float, float]:
    """Processor seconds of the imports of a ClientApp process that does nothing, and of ours on top; best of some tries."""
    flower, both = (min(_cpu_s(code) for _ in range(_TRIES)) for code in (_FLOWER, _OURS))
    return flower, both - flower


def _cpu_s(code: str) -> float:
    return float(subprocess.run([sys.executable, "-c", code + _CPU], capture_output=True, text=True, check=True).stdout)
