"""What was trained, with which result, and who took part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from stfed.report.blocks import Block, Chart, Fact, Facts, Section, Table, Text
from stfed.report.run import Run, State

_STATES = {
    State.WAITING: "has not begun",
    State.RUNNING: "has not ended: it is going on, or was cut off",
    State.DONE: "came to its end",
    State.FAILED: "failed",
}
MODES: dict[str, tuple[str, str]] = {
    "semi-honest": ("semi-honest", "the coordinator sees sums only, if it follows the protocol"),
    "malicious": ("malicious", "the coordinator sees sums only, whatever it does"),
    "ckks": ("ckks", "the coordinator sees ciphertexts, a key holder decrypts sums"),
    "plain": ("NONE", "a plain run: the coordinator saw every update"),
}
"""What a card says of each."""
_NODE = re.compile(r"\b[0-9]{9,20}\b")
"""Node ids are 64 random bits."""
WHERE = {"train": "parties, after training", "evaluate": "parties' own data", "global": "coordinator's data"}


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
        mode = str(trained[-1].event["mode"])
        facts.append(Fact("Mode", MODES[mode][0] if mode in MODES else mode, MODES[mode][1] if mode in MODES else ""))
    for name, points in run.series().items():
        if name.startswith("global "):
            facts.append(
                Fact(
                    name.removeprefix("global ").capitalize(), f"{points[max(points)]:.4f}", "of the last model, on the coordinator's data"
                )
            )
    if run.epsilon is not None:
        facts.append(Fact("Privacy spent", f"epsilon {run.epsilon[0]:.3g} at delta {run.epsilon[1]:g}", "by the whole run, for each party"))
    return facts


def trained(run: Run, config: Mapping[str, object]) -> Section:
    """What was trained: the method, the size, and what the app was set to.

    Args:
        run: whose.
        config: the run file (`stfed.report.runfile`); empty if there is none.
    """
    facts = dict[str, tuple[str, str]]()
    if run.start is not None:
        facts["strategy"] = (run.start["strategy"], "how the coordinator makes one model of what the parties trained")
        facts["rounds"] = (
            f"{run.rounds} of {run.start['num_rounds']}",
            "in each the parties train on their own data, and the updates are averaged",
        )
    length = max((one.event["parameters"] for one in run.of_phase("train")), default=0)
    if length:
        facts["size"] = (f"{length:,} numbers", "that a party's update has: the parameters of the model that are shared, and its metrics")
    blocks: list[Block] = [facts_of(facts)] if facts else [Text("The run has not begun.")]
    if config:
        rows = [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in config.items()]
        blocks += [Text("The app was set to this, by its run file:"), Table(("setting", "value"), rows)]
    return Section("What was trained", blocks)


def result(run: Run, beside: Mapping[str, Mapping[int, float]] | None = None, called: str = "") -> Section:
    """Curves of every metric; with those of another run, if there is one to compare with.

    Args:
        run: whose.
        beside: the series of the other run, named as `Run.series` does.
        called: what the other run is called in the legend.
    """
    blocks: list[Block] = []
    other = beside or {}
    by_metric: dict[str, dict[str, Mapping[int, float]]] = {}
    for name, points in run.series().items():
        where, _, metric = name.partition(" ")
        by_metric.setdefault(metric, {})[where] = points
    if by_metric:
        first = "; round 0 is the model before any training" if any(0 in points for points in run.series().values()) else ""
        blocks.append(Text(f"Metrics have the names that the app gives them{first}."))
    for metric, curves in by_metric.items():
        alone = len(curves) == 1
        theirs = {where: other[f"{where} {metric}"] for where in curves if f"{where} {metric}" in other}
        series = {"this run" if alone else WHERE[where]: points for where, points in curves.items()}
        compared = {called if alone else f"{WHERE[where]}: {called}": points for where, points in theirs.items()}
        title = f"{metric}, {WHERE[next(iter(curves))]}" if alone else metric
        blocks.append(Chart(title, "round", metric, {**series, **compared}, dashed=tuple(compared)))
    if not blocks:
        blocks.append(Text("Nothing was measured: neither the parties nor the coordinator evaluated."))
    failed = [one for one in run.sums if one.failure]
    if failed:
        rows = [(str(one.server_round or "-"), one.phase, anonymous(run, str(one.failure))) for one in failed]
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
    signed = any(one.event["mode"] == "malicious" for one in run.sums)
    roster = " Who they are is in the roster, which each of them has." if signed else ""
    blocks: list[Block] = [
        Text("Parties have names here that mean nothing outside of this page; the coordinator knows them by their node ids." + roster),
        Table(("parties", "times asked", "times in the sum", "times dropped"), rows),
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


def anonymous(run: Run, text: str) -> str:
    """A text of the log without node ids."""
    names = pseudonyms(run)
    return _NODE.sub(lambda match: names.get(match[0], "(a node)"), text)


def size(size_bytes: float) -> str:
    """For people."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def facts_of(pairs: Mapping[str, tuple[str, str]]) -> Facts:
    """Facts from name, value and meaning."""
    return Facts([Fact(name, value, meaning) for name, (value, meaning) in pairs.items()])


def _outcome(run: Run) -> str:
    text = _STATES[run.state]
    return f"{text}: {anonymous(run, run.end['failure'])}" if run.end is not None and run.end["failure"] else text


def _duration(run: Run) -> str:
    assert run.start is not None
    seconds = run.end["seconds"] if run.end is not None else run.last_s - run.start["time"]
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{seconds:.1f} s"


def _when(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"
