"""What was trained, with which result, and who took part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from stfed.report.blocks import Block, Chart, Fact, Facts, Section, Table, Text
from stfed.report.run import Run, State, Sum

_STATES = {
    State.WAITING: "has not begun",
    State.RUNNING: "has not ended: it is going on, or was cut off",
    State.DONE: "came to its end",
    State.FAILED: "failed",
}
_NODE = re.compile(r"\b[0-9]{9,20}\b")
"""Node ids are 64 random bits."""
_WHERE = {"train": "parties, after training", "evaluate": "parties' own data", "global": "coordinator's data"}


def summary(run: Run) -> list[Fact]:
    """The few facts that matter most."""
    facts = [Fact("Run", _outcome(run))]
    if run.start is not None:
        rounds = f"{run.rounds} of {run.start['num_rounds']} rounds"
        facts.append(Fact("Training", f"{run.start['strategy']}, {rounds}"))
        facts.append(Fact("When", f"{_when(run.start['time'])}, for {_duration(run)}"))
    trained = [one for one in run.of_phase("train") if one.failure is None]
    if trained:
        least, most = min(one.summed for one in trained), max(one.summed for one in trained)
        count = str(least) if least == most else f"{least} to {most}"
        facts.append(Fact("Parties", f"{len(run.nodes())} asked, {count} in each sum"))
        facts.append(Fact("Mode", str(trained[-1].event["mode"])))
    for name, points in run.series().items():
        if name.startswith("global "):
            facts.append(
                Fact(
                    name.removeprefix("global ").capitalize(), f"{points[max(points)]:.4f}", "of the last model, on the coordinator's data"
                )
            )
    if run.epsilon is not None:
        facts.append(Fact("Privacy spent", f"epsilon {run.epsilon[0]:.3g} at delta {run.epsilon[1]:g}"))
    return facts


def result(run: Run, beside: Run | None) -> Section:
    """Curves of every metric; with those of another run, if there is one to compare with."""
    blocks: list[Block] = []
    other = {} if beside is None else beside.series()
    by_metric: dict[str, dict[str, Mapping[int, float]]] = {}
    for name, points in run.series().items():
        where, _, metric = name.partition(" ")
        by_metric.setdefault(metric, {})[_WHERE[where]] = points
        if name in other:
            by_metric[metric][f"{_WHERE[where]}, the other run"] = other[name]
    blocks += [Chart(metric, "round", metric, series) for metric, series in by_metric.items()]
    if not blocks:
        blocks.append(Text("Nothing was measured: neither the parties nor the coordinator evaluated."))
    failed = [one for one in run.sums if one.failure]
    if failed:
        rows = [(str(one.server_round or "-"), one.phase, _anonymous(run, str(one.failure))) for one in failed]
        blocks += [Text("Sums that failed; nothing of them was released:"), Table(("round", "of", "why"), rows)]
    if run.budget is not None:
        blocks.append(Text(f"The run ended after round {run.budget['server_round']}: the privacy budget had no room for another one."))
    return Section("Result", blocks)


def parties(run: Run) -> Section:
    """Who took part, under names that mean nothing outside of this page, and who dropped and why."""
    names, alike = pseudonyms(run), dict[tuple[int, int], list[str]]()
    for node, counts in run.nodes().items():
        alike.setdefault(counts, []).append(names[node])
    rows = [(_listed(some), str(asked), str(summed), str(asked - summed)) for (asked, summed), some in alike.items()]
    rows.sort(key=lambda row: (int(row[3]), row[0]))
    blocks: list[Block] = [
        Text("Parties have names here that mean nothing outside of this page; who they are is in the roster, which each of them has."),
        Table(("parties", "asked", "in the sum", "dropped"), rows),
    ]
    reasons = Counter((drop["step"], drop["reason"]) for one in run.sums for drop in one.event["dropped"].values())
    if reasons:
        blocks += [
            Text("Why parties dropped, over all sums:"),
            Table(("step", "reason", "times"), [(step, reason, str(times)) for (step, reason), times in sorted(reasons.items())]),
        ]
    if run.disputes:
        blocks.append(Text(f"{len(run.disputes)} disputes: a party called shares of another one wrong; neither is proved to be at fault."))
    return Section("Who took part", blocks)


def pseudonyms(run: Run) -> dict[str, str]:
    """Names by node id, in the order in which nodes were first asked."""
    nodes = list(run.nodes())
    width = len(str(len(nodes)))
    return {node: f"P{number:0{width}}" for number, node in enumerate(nodes, 1)}


def _listed(names: list[str]) -> str:
    """P01 to P04, P07: neighbours as a range."""
    parts, start = list[str](), 0
    for end in range(1, len(names) + 1):
        if end == len(names) or int(names[end][1:]) != int(names[end - 1][1:]) + 1:
            several = end - start > 2
            parts += [f"{names[start]} to {names[end - 1]}"] if several else names[start:end]
            start = end
    return ", ".join(parts)


def _anonymous(run: Run, text: str) -> str:
    """A text of the log without node ids."""
    names = pseudonyms(run)
    return _NODE.sub(lambda match: names.get(match[0], "(a node)"), text)


def cost(run: Run) -> Iterator[Block]:
    """Where time and bytes went."""
    done = [one for one in run.sums if one.failure is None]
    steps = list(dict.fromkeys(step for one in done for step in one.seconds))
    if not steps:
        yield Text("No sum came to its end.")
        return
    series = {step: {number: _seconds(done, step, number) for number in _numbers(run)} for step in steps}
    yield Chart("time of each step", "round", "seconds", series, stacked=True)
    rows = []
    for step in steps:
        seconds = [one.seconds[step] for one in done if step in one.seconds]
        up, down = (sum(one.event[key].get(step, 0) for one in done) for key in ("bytes_up", "bytes_down"))
        rows.append((step, f"{sum(seconds) / len(seconds):.3g} s", f"{max(seconds):.3g} s", size(down), size(up)))
    ahead = [sum(one.event[key].get("ahead", 0) for one in done) for key in ("bytes_down", "bytes_up")]
    if any(ahead):
        rows.append(("prepare, riding", "", "", size(ahead[0]), size(ahead[1])))
    yield Table(("step", "mean", "longest", "bytes down", "bytes up"), rows)
    yield Text("Bytes are those of all parties and all rounds together, without Flower's framing.")


def size(size_bytes: float) -> str:
    """For people."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def facts_of(pairs: Mapping[str, tuple[str, str]]) -> Facts:
    """Facts from name, value and meaning."""
    return Facts([Fact(name, value, meaning) for name, (value, meaning) in pairs.items()])


def _seconds(sums: list[Sum], step: str, number: int) -> float:
    """Of a round: the slowest of its groups, which are at work at the same time, for training and for evaluation."""
    slowest: dict[str, float] = {}
    for one in sums:
        if one.server_round == number:
            slowest[one.phase] = max(slowest.get(one.phase, 0.0), one.seconds.get(step, 0.0))
    return sum(slowest.values())


def _numbers(run: Run) -> list[int]:
    return sorted({one.server_round for one in run.sums if one.server_round is not None})


def _outcome(run: Run) -> str:
    text = _STATES[run.state]
    return f"{text}: {_anonymous(run, run.end['failure'])}" if run.end is not None and run.end["failure"] else text


def _duration(run: Run) -> str:
    assert run.start is not None
    seconds = run.end["seconds"] if run.end is not None else run.last_s - run.start["time"]
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{seconds:.1f} s"


def _when(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"
