"""What the live view says, in numbers and short texts: rounds, the metrics worth a column, curves in one line, times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.report.run import Run, Sum

_BARS = "▁▂▃▄▅▆▇█"
_WHERE = ("global", "evaluate", "train")
_KINDS = ("acc", "loss")
_QUIET_S = 60.0
_NOISE = 1e-6  # relative: what moves less than this does not move


@dataclass(frozen=True, slots=True)
class Round:
    """A row of the table: what one of Flower's rounds took, its training and its evaluation together.

    Attributes:
        number: Flower's round; None where a strategy does not say.
        asked, summed: parties of its training, all groups together; of its evaluation where there was no training.
        failed: whether one of its sums was not to be had.
        seconds: the longest of its groups, for training and for evaluation.
        bytes_down, bytes_up: over all parties.
    """

    number: int | None
    asked: int
    summed: int
    failed: bool
    seconds: float
    bytes_down: int
    bytes_up: int


def rounds(run: Run) -> list[Round]:
    """All rounds so far, in their order."""
    by_number: dict[int | None, list[Sum]] = {}
    for one in run.sums:
        by_number.setdefault(one.server_round, []).append(one)
    return [_round(number, sums) for number, sums in by_number.items()]


def _round(number: int | None, sums: Sequence[Sum]) -> Round:
    trained = [one for one in sums if one.phase == "train"] or sums
    slowest: dict[str, float] = {}
    for one in sums:
        slowest[one.phase] = max(slowest.get(one.phase, 0.0), sum(one.seconds.values()))
    return Round(
        number,
        sum(one.asked for one in trained),
        sum(one.summed for one in trained),
        any(one.failure for one in sums),
        sum(slowest.values()),
        sum(one.bytes_down for one in sums),
        sum(one.bytes_up for one in sums),
    )


def worth_showing(series: Mapping[str, Mapping[int, float]], most: int) -> list[str]:
    """Names of metrics, those that people look at first: accuracy before loss, and each once, from whoever knows best."""

    def rank(name: str) -> tuple[int, int, str]:
        where, _, metric = name.partition(" ")
        kind = next((at for at, kind in enumerate(_KINDS) if kind in metric.lower()), len(_KINDS))
        return kind, _WHERE.index(where) if where in _WHERE else len(_WHERE), metric

    chosen: list[str] = []
    for name in sorted(series, key=rank):
        alike = [rank(other)[0] for other in chosen]
        if rank(name)[0] == len(_KINDS) or rank(name)[0] not in alike:
            chosen.append(name)
    chosen += [name for name in sorted(series, key=rank) if name not in chosen]
    return chosen[:most]


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in one line: its last `width` points, from the least of them at the bottom to the greatest at the top."""
    shown = [value for value in values[-width:] if not isnan(value)]
    if not shown:
        return ""
    least, span, steps = min(shown), max(shown) - min(shown), len(_BARS) - 1
    if not _NOISE * max(map(abs, shown)) < span < inf:
        return _BARS[steps // 2] * len(shown)
    return "".join(_BARS[round((value - least) / span * steps)] for value in shown)


def drops(run: Run) -> list[tuple[str, int]]:
    """Who is missing from how many sums, under the names of the report, the most frequent first. Of a sum that failed, who made it fail."""
    from stfed.report.story import pseudonyms

    missing: Counter[str] = Counter()
    for one in run.sums:
        gone = one.event["dropped"] if one.failure else set(one.event["asked"]) - set(one.event["summed"])
        missing.update(node for node in one.event["asked"] if node in gone)
    names = pseudonyms(run)
    return sorted(((names[node], times) for node, times in missing.items()), key=lambda one: (-one[1], one[0]))


def last_trouble(run: Run) -> str | None:
    """The last failure of a sum, or else the last refusal or drop; None if there was none."""
    from stfed.report.story import anonymous, pseudonyms

    names = pseudonyms(run)
    for one in reversed(run.sums):
        place = f"round {one.server_round}, {one.phase}" if one.server_round is not None else one.phase
        if one.failure:
            return f"{place}: {anonymous(run, one.failure)}"
        for node, drop in reversed(one.event["dropped"].items()):
            detail = f": {drop['detail']}" if drop["detail"] else ""
            return f"{place}: {names.get(node, 'a party')} dropped in {drop['step']}, {drop['reason']}{detail}"
    for epoch in reversed(run.epochs):
        for why in epoch["refused"].values():
            return f"epoch {epoch['epoch']}: a party did not join: {why or 'no reply'}"
    return None


def elapsed_s(run: Run, now_s: float) -> float:
    """Since the run began, or how long it took."""
    if run.end is not None:
        return float(run.end["seconds"])
    return max(0.0, now_s - run.start["time"]) if run.start is not None else 0.0


def silent_s(run: Run, now_s: float) -> float | None:
    """How long a run that goes on has said nothing, if that is long; whoever was cut off never says that it ended."""
    quiet = now_s - run.last_s
    return quiet if run.start is not None and run.end is None and quiet > _QUIET_S else None


def clock(seconds: float) -> str:
    """0:07, 12:34, 1:02:03."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def plain(text: object) -> str:
    """What a log says, on one line and without what steers a terminal: logs may come from elsewhere."""
    said = str(text)
    if said.isprintable():
        return said
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}" for letter in said)


def total(values: Iterable[int]) -> str:
    """Bytes for people."""
    from stfed.report.story import size

    return size(sum(values))
