"""Another run beside this one: the same training in the clear, most often, to see what protection changed and what it cost.

A run to hold against is an event log, of `stfed.flower.plain` for a plain one, or a table of metrics by round that any other tool wrote:

- CSV with a column `round`: `round,accuracy,loss`;
- JSON, a list of objects with a field `round`: `[{"round": 0, "accuracy": 0.6}, ...]`.

Metrics are the coordinator's own, or `train NAME` and `evaluate NAME` for means over the parties.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stfed.errors import LocalError, MalformedError, shown
from stfed.report import protection
from stfed.report.blocks import Block, Section, Table, Text
from stfed.report.eventlog import find, read
from stfed.report.run import Run
from stfed.report.story import WHERE, size

Series = Mapping[str, Mapping[int, float]]
_VISIBLE = 5e-5
"""What four digits show."""


@dataclass(frozen=True, slots=True)
class Other:
    """A run to hold another one against.

    Attributes:
        called: what a legend calls it.
        series: its metrics by round, named as `Run.series` does.
        run: all that is known of it; None if it came as a table.
    """

    called: str
    series: Series
    run: Run | None = None


def load(place: str | os.PathLike[str]) -> Other:
    """The other run, from its folder, its event log, or a table.

    Raises:
        LocalError: there is none.
        MalformedError: it is no event log, or no table of numbers by round.
    """
    path = Path(place)
    if path.suffix.lower() in (".csv", ".json"):
        return Other(f"plain, {path.name}", _table(path))
    log = find(path)
    run = Run.of(read(log))
    called = "plain" if protection.unprotected(run) else f"the other run, {log.parent.resolve().name}"
    return Other(called, run.series(), run)


def _table(path: Path) -> dict[str, dict[int, float]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LocalError(f"the table {path} cannot be read: {error.strerror}") from error
    found: dict[str, dict[int, float]] = {}
    place = "its text"
    try:
        text = data.decode("utf-8-sig")
        rows = json.loads(text) if path.suffix.lower() == ".json" else list(csv.DictReader(text.splitlines()))
        for count, row in enumerate(rows, 1):
            place = f"row {count}"
            number = _round(row["round"])
            for name, value in row.items():
                if name != "round" and value not in (None, ""):
                    where = name if name.partition(" ")[0] in WHERE else f"global {name}"
                    found.setdefault(where, {})[number] = float(value)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
        raise _no_table(path, f"{place}, {type(error).__name__}: {shown(str(error))}") from None
    if not found:
        raise _no_table(path, "it holds no metric")
    return found


def _round(value: str | float) -> int:
    number = float(value)
    if not (number.is_integer() and 0 <= number < 2**53):
        raise ValueError(f"round {value} is no whole number")
    return int(number)


def _no_table(path: Path, reason: str) -> MalformedError:
    return MalformedError(f"{path} is no table of numbers by round: {reason}", hint="CSV such as round,accuracy; or JSON such as [{...}]")


def compared(run: Run, others: Sequence[Other]) -> Section:
    """The difference in words, and what either cost.

    Args:
        run: this one.
        others: the first is the one it is compared with; the rest are the same training with other seeds, which say how much chance does.
    """
    other = others[0]
    blocks: list[Block] = [Text(f"This run against {_article(other)}, in the rounds that both have.")]
    series = run.series()
    shared = {name: both for name, points in series.items() if (both := sorted(points.keys() & other.series.get(name, {}).keys()))}
    if not shared:
        blocks.append(Text("No metric is in both."))
    else:
        header = ("", "last round", "this run", other.called, "difference", "most in any round", *_chance_header(others))
        rows = [(*_row(name, series[name], other, both), *_chance(name, both[-1], others)) for name, both in shared.items()]
        blocks += [Table(header, rows), Text(_words(series, shared, others))]
    if other.run is not None:
        blocks += _costs(run, other.run, other.called)
    return Section("Secure and plain" if other.called.startswith("plain") else "Beside the other run", blocks)


def _article(other: Other) -> str:
    return "a plain one, in which nothing protected the parties" if other.called == "plain" else other.called


def _row(name: str, ours: Mapping[int, float], other: Other, both: Sequence[int]) -> tuple[str, ...]:
    theirs, last = other.series[name], both[-1]
    most = max(both, key=lambda number: _away(ours[number], theirs[number]))
    where, _, metric = name.partition(" ")
    values = (f"{ours[last]:.4f}", f"{theirs[last]:.4f}", _shown(ours[last] - theirs[last]), _shown(ours[most] - theirs[most]))
    return (f"{metric}, {WHERE.get(where, where)}", str(last), *values)


def _away(one: float, other: float) -> float:
    """How far apart they are; what is not finite is infinitely far from everything, itself too, so that no comparison loses it."""
    return abs(one - other) if math.isfinite(one) and math.isfinite(other) else math.inf


def _shown(difference: float) -> str:
    if not math.isfinite(difference):
        return "not finite"
    return f"{difference:+.4f}" if abs(difference) >= _VISIBLE else f"{difference:+.0e}" if difference else "0"


def _chance_header(others: Sequence[Other]) -> tuple[str, ...]:
    return (f"all {len(others)} beside it, from", "to") if len(others) > 1 else ()


def _chance(name: str, number: int, others: Sequence[Other]) -> tuple[str, ...]:
    """Where the runs beside this one lie in a round: the first, and those with other seeds."""
    if len(others) < 2:
        return ()
    ends = _ends(name, number, others)
    return (f"{min(ends):.4f}", f"{max(ends):.4f}") if all(map(math.isfinite, ends)) else ("not finite", "not finite")


def _ends(name: str, number: int, others: Sequence[Other]) -> list[float]:
    return [other.series[name][number] for other in others if number in other.series.get(name, {})]


def _words(series: Series, shared: Mapping[str, Sequence[int]], others: Sequence[Other]) -> str:
    """What the table says, and how far to believe it."""
    theirs = others[0].series
    away = {name: _away(series[name][both[-1]], theirs[name][both[-1]]) for name, both in shared.items()}
    lost = [name.partition(" ")[2] for name in away if not math.isfinite(away[name])]
    if lost:
        text = f"At the end they cannot be compared in {', '.join(lost)}: there a run has no finite number."
    elif max(away.values()) < _VISIBLE:
        text = "At the end the two are equal to four digits in all that was measured."
    else:
        largest = max(away, key=lambda name: away[name])
        text = f"At the end they differ most in {largest.partition(' ')[2]}, by {away[largest]:.4f}."
    if len(others) < 2:
        return f"{text} How far such runs lie apart by chance alone is not known here: plain runs with other seeds beside it would tell."
    apart = {name: max(_away(a, b) for a in ends for b in ends) for name, both in shared.items() if (ends := _ends(name, both[-1], others))}
    beyond = [name.partition(" ")[2] for name in shared if away[name] > max(apart[name], _VISIBLE)]
    seeds = f"The {len(others)} runs beside it, which differ by their seeds, lie as far apart as the last two columns say"
    larger = f"the difference in {', '.join(beyond)} is larger than that." if beyond else "no difference is larger than that."
    return f"{text} {seeds}: {larger}"


def _costs(run: Run, other: Run, called: str) -> Iterator[Block]:
    ours, theirs = _cost(run), _cost(other)
    if not ours or not theirs:
        return
    rows = []
    for (name, mine), its in zip(ours.items(), theirs.values(), strict=True):
        shown = (lambda value: f"{value:.2f} s") if name.startswith("seconds") else size
        rows.append((name, shown(mine), shown(its), f"{mine / its:.2f}" if its else ""))
    yield Text("What a round cost, over training and evaluation of all parties together:")
    yield Table(("mean of a round", "this run", called, "times"), rows)
    yield Text("Seconds compare only if both ran on the same machines and through the same runtime.")


def _cost(run: Run) -> dict[str, float]:
    """Means over the rounds in which a sum came to its end; groups work at the same time, so the slowest one's seconds count."""
    slowest: dict[tuple[int | None, str], float] = {}
    down = up = 0.0
    for one in run.sums:
        if one.failure is None:
            seconds = sum(value for step, value in one.seconds.items() if step != "join")
            place = one.server_round, one.phase
            slowest[place] = max(slowest.get(place, 0.0), seconds)
            down, up = down + one.bytes_down, up + one.bytes_up
    rounds = len({number for number, _ in slowest})
    if not rounds:
        return {}
    return {
        "seconds, without join": sum(slowest.values()) / rounds,
        "bytes to the parties": down / rounds,
        "bytes from the parties": up / rounds,
    }
