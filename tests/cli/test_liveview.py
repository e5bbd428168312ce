"""The live view: what it says at every moment of real runs, and that it fits its terminal whatever it says."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any

import pytest
from flwr.app import MetricRecord
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from stfed.cli import livefacts
from stfed.cli.lines import Lines
from stfed.cli.liveview import Frame, view
from stfed.errors import QuorumError
from stfed.flower.plain import PlainAggregation
from stfed.report.eventlog import Event, read
from stfed.report.run import Run
from tests.flower import apps
from tests.flower.test_dp import private

N, ROUNDS = 6, 16
SIZES = ((80, 24), (140, 40), (60, 15), (40, 10), (20, 4), (1, 1))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Event]]:
    """A run with a party that drops in each round, one in groups, a private one that its budget ends, and one that fails."""
    folder = tmp_path_factory.mktemp("logs")
    silent = {"action": "drop-reply", "node": 1, "step": "train"}
    secure = apps.secure(apps.FedAvg(), events=folder / "plain")
    metrics = {"accuracy": 0.0, "loss": 1.0}

    def evaluated(number: int, arrays: object) -> MetricRecord:
        return MetricRecord({**metrics, "accuracy": 1 - math.exp(-number / 5), "loss": math.exp(-number / 5)})

    secure.start(apps.secure_grid(N, silent), apps.model(), ROUNDS, evaluate_fn=evaluated)
    apps.secure(events=folder / "groups", group_size=4).start(apps.secure_grid(8), apps.model(), 2)
    private(epsilon=24.0, events=folder / "private").start(apps.secure_grid(10), apps.model(), 6)
    PlainAggregation(apps.FedAvg(), events=folder / "averaged").start(apps.plain_grid(3), apps.model(), 1)
    gone = [{"action": "drop-reply", "node": node, "step": "train"} for node in range(4)]
    failing, grid = apps.secure(events=folder / "failed"), apps.secure_grid(5, *gone)
    with pytest.raises(QuorumError):
        failing.start(grid, apps.model(), 1)
    return {path.name: read(path) for path in folder.iterdir()}


def shown(events: list[Event], width: int = 80, height: int = 24, after_s: float = 1.0, footer: str = "Ctrl+C leaves") -> list[str]:
    """What a terminal of this size shows, as a recorded console has it."""
    run = Run.of(events)
    lines = view(run, run.last_s + after_s, Frame("study.toml", width, height, footer))
    console = Console(width=width, height=height, record=True, force_terminal=True, file=StringIO())
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    return console.export_text().splitlines()


def until(events: list[Event], condition: Callable[[Event], bool]) -> list[Event]:
    """The events up to the first such one."""
    return events[: next(at for at, event in enumerate(events) if condition(event)) + 1]


def with_answers(event: Event, **changes: object) -> dict[str, Any]:
    return {**event, **changes}


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_at_every_moment(logs: dict[str, list[Event]], size: tuple[int, int]) -> None:
    for events in logs.values():
        run = Run()
        for at, event in enumerate([None, *events]):
            if event is not None:
                run.take(event)
            if at % 7 and at < len(events):
                continue
            lines = view(run, run.last_s + 2, Frame("study.toml", *size, footer="Ctrl+C leaves" if at % 2 else ""))
            assert len(lines) <= size[1]
            assert all(line.cell_len <= size[0] for line in lines)
            assert "\n" not in "".join(line.plain for line in lines)


def test_it_says_what_runs_and_how_far_it_is(logs: dict[str, list[Event]]) -> None:
    events = logs["plain"]
    begun = until(events, lambda event: event["event"] == "evaluation" and event["server_round"] == ROUNDS // 2)
    first, bar, spent, *_ = shown(begun, after_s=60.0 * 3 + 5 - (begun[-1]["time"] - begun[0]["time"]))
    assert first.startswith("FedAvg over secure sums, semi-honest  study.toml")
    assert f"round {ROUNDS // 2} of {ROUNDS}" in bar
    assert bar.count("━") == pytest.approx(bar.count("─"), abs=1)
    sums = [event for event in begun if event["event"] == "round"]
    assert f"down {livefacts.total(sum(event['bytes_down'].values()) for event in sums)}" in spent
    assert f"up {livefacts.total(sum(event['bytes_up'].values()) for event in sums)}" in spent
    assert f"{N} of {N} joined" in spent
    assert shown(events[:1], after_s=59.0)[0].endswith("running 0:59")
    assert shown(begun, after_s=61.0)[0].endswith("silent for 1:01")
    assert "done" in shown(events)[0]
    assert "has not begun" in shown([])[0]


def test_the_steps_of_the_sum_under_way(logs: dict[str, list[Event]]) -> None:
    events = logs["plain"]
    training = until(events, lambda event: event["event"] == "step" and event["step"] == "train" and event["server_round"] == 1)
    midway = [*training, with_answers(training[-1], answered=4, bytes_up=123_000)]
    lines = shown(midway, after_s=0.0)
    (steps,) = (line for line in lines if line.startswith("round 1, training"))
    assert f"✓ join {N}/{N}" in steps
    assert f"✓ prepare {N}/{N}" in steps
    assert f"▸ train 4/{N}" in steps
    assert "· unmask  · sum" in steps
    bar = lines[lines.index(steps) + 1]
    assert bar.endswith(f"4 of {N} answered, 0:00")
    assert bar.count("━") / (bar.count("━") + bar.count("─")) == pytest.approx(4 / N, abs=0.02)
    later = [*midway, with_answers(training[-1], answered=5, time=training[-1]["time"] + 30)]
    assert shown(later, after_s=45.0)[lines.index(steps) + 1].endswith(f"5 of {N} answered, 1:15")
    before = sum(event["bytes_up"] for event in training if event["event"] == "step" and event["seconds"] is not None)
    assert f"up {livefacts.total([before, 123_000])} " in lines[2]
    # Between sums nothing is under way, and nothing below moves.
    after = shown(until(events, lambda event: event["event"] == "round"))
    assert any("between sums" in line for line in after)
    table = [next(at for at, line in enumerate(one) if "asked summed" in line) for one in (after, shown(events[: len(events) // 2]))]
    assert table[0] == table[1]


def test_confirm_is_a_step_in_malicious_mode_only(logs: dict[str, list[Event]]) -> None:
    events = copy.deepcopy(until(logs["plain"], lambda event: event["event"] == "step" and event["step"] == "train"))
    assert not any("confirm" in line for line in shown(events))
    events[0]["settings"]["mode"] = "malicious"  # type: ignore[index]
    (wide,) = (line for line in shown(events, 100) if "· confirm  · unmask  · sum" in line)
    (narrow,) = (line for line in shown(events, 78) if "· confirm  · unmask  · sum" in line)
    assert f"✓ prepare {N}/{N}  ▸ train 0/{N}" in wide
    assert f"✓ prepare  ▸ train 0/{N}" in narrow  # what everybody has answered needs no count


def test_a_plain_run_is_called_one(logs: dict[str, list[Event]]) -> None:
    (first, *_), lines = shown(logs["averaged"], 100), StringIO()
    assert first.startswith("FedAvg in plain averaging: nothing is protected  study.toml")
    said = Lines(Console(file=lines, width=160))
    for event in logs["averaged"]:
        said.event(event)
    assert lines.getvalue().startswith("FedAvg in plain averaging: the coordinator sees every party's update\n")
    assert "round   1/1  train" in lines.getvalue()


def test_groups_are_counted_together(logs: dict[str, list[Event]]) -> None:
    events = until(logs["groups"], lambda event: event["event"] == "step" and event["step"] == "train" and event["group"] == 1)
    assert any("training in 2 groups" in line and "train 0/8" in line for line in shown(events))
    rows = [line.split() for line in shown(logs["groups"], 140, 40)]
    assert [row[:4] for row in rows if row[:1] in (["1"], ["2"])] == [["1", "8", "8", "0"], ["2", "8", "8", "0"]]


@pytest.mark.parametrize(("width", "height"), SIZES[:2])
def test_the_last_rounds_are_in_the_table_and_older_ones_give_way(logs: dict[str, list[Event]], width: int, height: int) -> None:
    lines = shown(logs["plain"], width, height)
    at = next(at for at, line in enumerate(lines) if line.startswith("round") and "asked" in line)
    head = lines[at]
    rows = [line.split() for line in lines[at + 1 : lines.index("", at)]]
    numbers = [int(row[0]) for row in rows]
    assert numbers == list(range(ROUNDS - len(rows) + 1, ROUNDS + 1))
    assert len(rows) > height / 3
    for name in ("asked", "summed", "dropped", "seconds", "global accuracy", "global loss"):
        assert name in head
    assert {tuple(row[1:4]) for row in rows} == {(str(N), str(N - 1), "1")}
    assert rows[-1][4] == f"{1 - math.exp(-ROUNDS / 5):.4f}"
    assert ("down" in head) == (width > 100)


def test_curves_drops_and_the_last_trouble(logs: dict[str, list[Event]]) -> None:
    lines = shown(logs["plain"])
    (accuracy,) = (line for line in lines if line.startswith("global accuracy") and "to" in line)
    assert accuracy.endswith(f"0.0000 to {1 - math.exp(-ROUNDS / 5):.4f}")
    (drops,) = (line for line in lines if line.startswith("dropped  "))
    assert drops.split()[1:] == [next(iter(dict(livefacts.drops(Run.of(logs["plain"]))))), str(2 * ROUNDS)]
    assert any(line.startswith("last     round 16, evaluate: P") and "no reply" in line for line in lines)
    nodes = {node for event in logs["plain"] if event["event"] == "round" for node in event["asked"]}
    assert not any(node in line for node in nodes for line in lines)


def test_many_drops_take_one_line(logs: dict[str, list[Event]]) -> None:
    events = copy.deepcopy(logs["plain"])
    for at, event in enumerate(event for event in events if event["event"] == "round"):
        event["summed"] = event["asked"][: at % N]  # type: ignore[index]
    (line,) = (line for line in shown(events, 40) if line.startswith("dropped  "))
    assert line.endswith("more")
    assert int(line.split()[-2]) + (len(line.split()) - 4) // 2 == N


def test_privacy_and_what_ended_early(logs: dict[str, list[Event]]) -> None:
    lines = shown(logs["private"], 120)
    assert "ε " in lines[2]
    assert " of 24 at δ " in lines[2]
    assert any("ended early after round" in line for line in lines)


def test_a_failure_is_told_in_full(logs: dict[str, list[Event]]) -> None:
    lines = shown(logs["failed"])
    assert "failed" in lines[0]
    told = " ".join(line.strip() for line in lines[next(at for at, line in enumerate(lines) if line.startswith("failed ")) :])
    assert "QuorumError: 1 of 5 parties sent an update" in told
    assert any(" failed " in line and line.split()[0] == "1" for line in lines)
    assert "(node P" in told
    assert not any(node in told for node in Run.of(logs["failed"]).nodes())
    assert livefacts.drops(Run.of(logs["failed"])) == [(name, 1) for name in sorted(re.findall(r"P\d", told))]


def test_it_is_a_function_of_the_run_and_the_time(logs: dict[str, list[Event]]) -> None:
    run = Run.of(logs["plain"])
    before = copy.deepcopy(run)
    frames = [view(run, 5.0, Frame("x", 80, 24)) for _ in range(2)]
    assert frames[0] == frames[1]
    assert run == before


def test_a_log_cannot_steer_the_terminal(logs: dict[str, list[Event]]) -> None:
    events = copy.deepcopy(logs["plain"])
    bad = "\x1b[2J\x07[red]x[/]\nnext\u202e"
    events[0]["strategy"] = bad  # type: ignore[index]
    for event in events:
        if event["event"] == "round":
            event["metrics"] = {bad: 0.5}  # type: ignore[index]
            event["failure"] = bad  # type: ignore[index]
    text = "\n".join(line.plain for line in view(Run.of(events), 1.0, Frame("x", 200, 50)))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[red]x[/] next" in text


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50), st.integers(1, 60))
def test_a_sparkline_is_as_high_as_its_points(values: list[float], width: int) -> None:
    line, points = livefacts.sparkline(values, width), values[-width:]
    assert len(line) == len(points)
    order = sorted(range(len(points)), key=points.__getitem__)
    assert [line[at] for at in order] == sorted(line)
    if max(points) - min(points) > 1e-3 * max(map(abs, points)):
        assert (line[order[0]], line[order[-1]]) == ("▁", "█")


def test_a_sparkline_of_what_does_not_move_or_is_no_number() -> None:
    assert len(set(livefacts.sparkline([2.0, 2.0 + 1e-9, 2.0], 10))) == 1
    assert livefacts.sparkline([], 10) == ""
    assert livefacts.sparkline([float("nan"), 1.0, 2.0], 10) == "▁█"
    assert len(livefacts.sparkline([1.0, float("inf")], 10)) == 2


def test_metrics_that_people_look_at_come_first() -> None:
    points: Mapping[int, float] = {1: 0.5}
    names = ["train loss", "train zeal", "evaluate accuracy", "global accuracy", "evaluate loss"]
    assert livefacts.worth_showing(dict.fromkeys(names, points), 3) == ["global accuracy", "evaluate loss", "train zeal"]
    assert livefacts.worth_showing(dict.fromkeys(names, points), 9)[:2] == ["global accuracy", "evaluate loss"]
    assert sorted(livefacts.worth_showing(dict.fromkeys(names, points), 9)) == sorted(names)


def test_clocks() -> None:
    assert [livefacts.clock(value) for value in (0.9, 7, 754, 3723)] == ["0:00", "0:07", "12:34", "1:02:03"]


def test_the_bar_is_there_in_colour(logs: dict[str, list[Event]]) -> None:
    run = Run.of(logs["failed"])
    styles = {str(span.style) for line in view(run, 1.0, Frame("x", 80, 24)) if isinstance(line, Text) for span in line.spans}
    assert "bold red" in styles


def test_no_title_and_no_name_of_a_metric_steers_the_terminal(logs: dict[str, list[Event]]) -> None:
    events = [{**event, "metrics": {"\x1b[2J[red]loss": 0.5}} if event["event"] == "round" else event for event in logs["plain"]]
    for known in ([], events):
        lines = view(Run.of(known), 0.0, Frame("a\x1b[3m\x9b\u202eb", 140, 40))
        assert all(line.plain.isprintable() for line in lines)
        assert any("a\ufffd[3m" in line.plain for line in lines)
    assert any("[red]loss" in line.plain for line in lines), "names are no markup"
