"""The event `step`: a step is told when it begins, while replies come in and when it is over, and never who has answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stfed.errors import QuorumError
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.steps import TimedStep
from stfed.report.eventlog import read
from stfed.report.run import Run
from stfed.report.schema import EVENTS
from tests.flower import apps
from tests.flower.parties import trial

N = 6
Events = list[Mapping[str, Any]]


def sums(events: Events) -> list[Events]:
    """The steps of each sum: those that were told since the sum before."""
    found: list[Events] = [[]]
    for event in events:
        if event["event"] == "step":
            found[-1].append(event)
        elif event["event"] == "round":
            found.append([])
    return found[:-1]


def test_every_step_begins_and_ends_with_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "events"
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 1, "step": "train"})
    apps.secure(events=path).start(grid, apps.model(), 2)
    events = read(path)
    rounds = [event for event in events if event["event"] == "round"]
    for steps, round_ in zip(sums(events), rounds, strict=True):
        assert {(step["phase"], step["server_round"]) for step in steps} == {(round_["phase"], round_["server_round"])}
        assert {step["round"] for step in steps if step["step"] != "join"} <= {round_["round"]}
        by_name: dict[str, Events] = defaultdict(list)
        for step in steps:
            by_name[step["step"]].append(step)
        assert list(by_name) == list(round_["seconds"])
        for name, (first, *_, last) in by_name.items():
            assert (first["answered"], first["seconds"]) == (0, None)
            assert last["seconds"] == pytest.approx(round_["seconds"][name], abs=1e-3)
            for key in ("bytes_up", "bytes_down"):
                assert last[key] == round_[key].get(name, 0)
        train, unmask = by_name["train"][-1], by_name["unmask"][-1]
        silent = round_["phase"] == "train" and round_["server_round"] == 1  # joins again, and then has to be asked anew
        assert train["asked"] - train["answered"] == len(round_["asked"]) - len(round_["summed"]) or silent
        assert (unmask["asked"], unmask["answered"]) == (len(round_["summed"]),) * 2
        assert by_name["sum"][-1]["asked"] == 0


def test_malicious_mode_has_confirm_too(tmp_path: Path) -> None:
    trial({}, rounds=1, events=tmp_path / "events")
    names = [event["step"] for event in sums(read(tmp_path / "events"))[0] if event["seconds"] is not None]
    assert names == ["join", "prepare", "train", "confirm", "unmask", "sum"]


def test_replies_are_told_at_most_once_a_second() -> None:
    told: list[dict[str, Any]] = []
    clock = 100.0
    report = RoundReport("train", (1, 2), server_round=3, round=7)
    with TimedStep(EventLog(listener=told.append), report, "train", 50, lambda: clock) as step:
        for _ in range(50):
            clock += 0.125
            step.answered()
    assert [(event["answered"], event["seconds"]) for event in told] == [
        (0, None),
        *((answered, None) for answered in (8, 16, 24, 32, 40, 48)),
        (50, 6.25),
    ]
    assert report.seconds == {"train": pytest.approx(6.25)}


def test_a_step_that_fails_is_over_too(tmp_path: Path) -> None:
    path = tmp_path / "events"
    grid = apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": "train"} for node in range(N - 1)))
    with pytest.raises(QuorumError):
        apps.secure(events=path).start(grid, apps.model(), 1)
    steps = sums(read(path))[0]
    assert (steps[-1]["step"], steps[-1]["answered"]) == ("train", 1)
    assert steps[-1]["seconds"] is not None


def test_nothing_in_a_step_is_about_one_party() -> None:
    fields = EVENTS["step"][1]
    assert {field.type for field in fields.values()} <= {"text", "whole number", "whole number or null", "number or null"}
    assert {name for name, field in fields.items() if field.type == "text"} == {"phase", "step"}


def test_a_run_knows_the_steps_under_way_and_forgets_them_with_the_sum(tmp_path: Path) -> None:
    path = tmp_path / "events"
    apps.secure(events=path, group_size=3).start(apps.secure_grid(N), apps.model(), 1)
    run, seen = Run(), set[tuple[str, int | None]]()
    for event in read(path):
        run.take(event)
        seen |= run.steps.keys()
        assert event["event"] not in ("round", "end") or not run.steps
    assert {("join", None), ("train", 0), ("train", 1), ("unmask", 1)} <= seen
