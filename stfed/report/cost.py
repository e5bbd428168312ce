"""Where the time and the bytes of a run went."""

from __future__ import annotations

from collections.abc import Iterator

from stfed.report.blocks import Block, Chart, Table, Text
from stfed.report.run import Run, Sum
from stfed.report.story import size

_STEPS = {
    "join": "the parties show their keys; the coordinator waits for all of them to start",
    "prepare": "each party deals shares of its secrets to its neighbours",
    "train": "the parties train or evaluate, mask or encrypt the result, and send it",
    "confirm": "the parties sign who is in the sum",
    "unmask": "those who are left give what removes the masks of the sum, and of nothing else",
    "decrypt": "the key holder decrypts the sum",
    "sum": "the coordinator alone: it adds up and decodes",
    "exchange": "the parties train or evaluate, and send the result as it is",
}


def cost(run: Run) -> Iterator[Block]:
    """Where time and bytes went."""
    done = [one for one in run.sums if one.failure is None]
    steps = list(dict.fromkeys(step for one in done for step in one.seconds))
    if not steps:
        yield Text("No sum came to its end.")
        return
    series: dict[str, dict[int, float]] = {step: {} for step in steps}
    for number, sums in _by_round(run).items():
        for step in steps:
            series[step][number] = _seconds(sums, step)
    yield Chart("time of each step", "round", "seconds", series, stacked=True)
    if "join" in series:
        calm = {step: {number: value for number, value in by.items() if not series["join"][number]} for step, by in series.items()}
        if any(calm.values()):
            yield Chart("the same without the rounds in which parties joined", "round", "seconds", calm, stacked=True)
    rows = []
    for step in steps:
        seconds = [one.seconds[step] for one in done if step in one.seconds]
        up, down = (sum(one.event[key].get(step, 0) for one in done) for key in ("bytes_up", "bytes_down"))
        rows.append((step, duration(sum(seconds) / len(seconds)), duration(max(seconds)), size(down), size(up), _STEPS.get(step, "")))
    ahead = [sum(one.event[key].get("ahead", 0) for one in done) for key in ("bytes_down", "bytes_up")]
    if any(ahead):
        rows.append(("ahead", "", "", size(ahead[0]), size(ahead[1]), "what the next round needs of `prepare`, sent along with this one"))
    yield Table(("step", "mean", "longest", "bytes down", "bytes up", "what happens"), rows)
    yield Text("Bytes are those of all parties and all rounds together, to them (down) and from them (up), without Flower's framing.")


def duration(seconds: float) -> str:
    """For people."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _by_round(run: Run) -> dict[int, list[Sum]]:
    """The sums of each of Flower's rounds, those that came to their end; a round where none did has none."""
    found: dict[int, list[Sum]] = {}
    for one in run.sums:
        if one.server_round is not None:
            found.setdefault(one.server_round, []).extend([one] if one.failure is None else [])
    return dict(sorted(found.items()))


def _seconds(sums: list[Sum], step: str) -> float:
    """Of a round: the slowest of its groups, which are at work at the same time, for training and for evaluation."""
    slowest: dict[str, float] = {}
    for one in sums:
        slowest[one.phase] = max(slowest.get(one.phase, 0.0), one.seconds.get(step, 0.0))
    return sum(slowest.values())
