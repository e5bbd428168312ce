"""The schema is what really is in event logs: runs of every kind are held against it, and docs/events.md is written from it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from flwr.app import MetricRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from starlette.responses import JSONResponse

from stfed.cli.lines import Lines
from stfed.cli.liveview import Frame, view
from stfed.errors import LocalError, MalformedError
from stfed.keys.encryption import generate_keypair
from stfed.report.blocks import Facts, Text
from stfed.report.dashboard.facts import details, overview
from stfed.report.dashboard.watching import Runs
from stfed.report.eventlog import Event, find, follow, read
from stfed.report.export.points import Points
from stfed.report.making import make_report
from stfed.report.run import Run, State
from stfed.report.schema import EVENTS, faults
from tests.flower import apps, test_ckks
from tests.flower.parties import trial
from tests.flower.test_dp import private
from tests.flower.test_malicious_parties import LIAR, complaining
from tests.report.page import PAGE, written

N = 10


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Event logs of a plain run with drops, a private one that its budget ends, and one with a party that lies."""
    folder = tmp_path_factory.mktemp("logs")
    keep: dict[str, Any] = {"save": folder / "models", "recipients": generate_keypair()[1]}
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 1, "step": "train"})
    secure = apps.secure(apps.FedAvg(), events=folder / "plain", **keep)
    secure.start(grid, apps.model(), 3, evaluate_fn=lambda number, arrays: MetricRecord({"accuracy": 0.5 + number / 10}))
    private(epsilon=24.0, events=folder / "private").start(apps.secure_grid(N), apps.model(), 6)
    trial({LIAR: {"train": complaining()}}, rounds=2, events=folder / "lies")
    apps.secure(events=folder / "groups", group_size=4).start(apps.secure_grid(8), apps.model(), 2)
    return {path.name: path for path in folder.iterdir() if path.is_file()}


def test_every_event_is_in_the_schema_and_every_one_of_the_schema_happens(logs: dict[str, Path]) -> None:
    events = [event for path in logs.values() for event in read(path)]
    assert {fault for event in events for fault in faults(event)} == set()
    assert {event["event"] for event in events} == set(EVENTS)


def test_encrypted_sums_fit_the_schema_and_the_report_says_what_they_are(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    test_ckks.run(test_ckks.federation(), 1, events=log)
    events = read(log)
    assert {fault for event in events for fault in faults(event)} == set()
    (done,) = (event for event in events if event["event"] == "round")
    assert (done["mode"], done["n"], done["ring_bits"]) == ("ckks", test_ckks.N, 0)
    report = make_report(log)
    (section,) = (one for one in report.sections if one.title == "What protects the parties")
    facts = {fact.name: fact.value for block in section.blocks if isinstance(block, Facts) for fact in block.facts}
    assert facts == {"mode": "ckks", "cohort": "4 parties", "smallest sum": "4 parties"}, "nothing of masks"
    assert "public key of a key holder" in " ".join(block.text for block in section.blocks if isinstance(block, Text))
    assert ("Mode", "ckks") in [(fact.name, fact.value) for fact in report.summary]


def test_what_is_no_event_of_the_schema_is_said() -> None:
    event: dict[str, Any] = {"time": 1.0, "event": "end", "seconds": 2.0, "failure": None}
    assert faults(event) == []
    assert faults({**event, "failure": 3}) == ["end: failure is no text or null"]
    assert faults({**event, "more": 3}) == ["end: more is not in the table"]
    assert faults({"time": 1.0, "event": "end", "seconds": True}) == ["end: failure lacks", "end: seconds is no number"]
    assert faults({"event": "nothing"}) == ["there is no event 'nothing'"]


def test_the_page_is_written_from_the_schema() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "python -m tests.report.page"


def test_the_block_of_the_page_runs(logs: dict[str, Path], tmp_path: Path) -> None:
    (block,) = (text.partition("```")[0] for text in PAGE.read_text().split("```python\n")[1:])
    (tmp_path / "events.jsonl").write_bytes(logs["private"].read_bytes())
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "State.DONE" in done.stdout


def test_a_run_as_one_picture(logs: dict[str, Path]) -> None:
    run = Run.of(read(logs["plain"]))
    assert (run.state, run.rounds, run.epsilon) == (State.DONE, 3, None)
    assert [(one.asked, one.summed) for one in run.of_phase("train")] == [(N, N - 1)] * 3
    assert run.series()["global accuracy"] == pytest.approx({0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8})
    assert {name.partition(" ")[0] for name in run.series()} == {"train", "evaluate", "global"}
    assert sorted(times - summed for times, summed in run.nodes().values()) == [0] * (N - 1) + [6]
    assert len(run.models) == 3
    spent = Run.of(read(logs["private"]))
    assert spent.budget is not None
    assert spent.epsilon is not None
    assert spent.epsilon[0] <= 24.0
    assert len(Run.of(read(logs["lies"])).disputes) == 1
    groups = Run.of(read(logs["groups"]))
    assert (groups.rounds, len(groups.sums)) == (2, 4)
    assert list(groups.series()["train train_loss"]) == [1, 2]


def test_a_failed_run_a_running_one_and_one_that_was_appended_to(logs: dict[str, Path]) -> None:
    events = read(logs["plain"])
    assert Run.of([]).state is State.WAITING
    assert Run.of(events[:-1]).state is State.RUNNING
    assert Run.of([*events[:-1], {**events[-1], "failure": "power"}]).state is State.FAILED
    assert Run.of([*events, *events]).rounds == 3
    assert Run.of([*events, {"time": 1.0, "event": "of the future"}]).rounds == 3


def test_a_log_is_followed_while_it_is_written(logs: dict[str, Path], tmp_path: Path) -> None:
    whole, log = logs["plain"].read_bytes(), tmp_path / "events.jsonl"
    looks = 0

    def write() -> bool:
        """A piece more at each look, and pieces end in the middle of lines."""
        nonlocal looks
        looks += 1
        log.write_bytes(whole[: looks * 1000])
        return looks * 1000 > len(whole) + 1000

    assert list(follow(log, over=write, poll_s=0.0)) == read(logs["plain"])
    cut: list[Event] = list(follow(logs["plain"].with_name("absent"), over=lambda: True))
    assert cut == []
    log.write_bytes(whole[:-10])
    assert list(follow(log, over=lambda: True)) == read(logs["plain"])[:-1] == read(log)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no event log"):
        find(tmp_path)
    log = tmp_path / "events.jsonl"
    for text in ("[]\n", "{}\n", "nonsense\n", '{"event": 3}\n'):
        log.write_text(json.dumps({"time": 1.0, "event": "end", "seconds": 1.0, "failure": None}) + "\n" + text)
        with pytest.raises(MalformedError, match=r"events\.jsonl: line 2 is no event$"):
            read(find(tmp_path))


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    for name, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(one, (*path, name))


WRONG = (None, True, -1, 10**18, 10**400, 1e299, "x", "x\ud800", [], {}, ["1"], {"1": "x"}, {"x": {"y": 1e299}}, math.nan)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_can_be_read_can_be_shown(logs: dict[str, Path], tmp_path: Path, data: st.DataObject) -> None:
    """Any field of any event may be anything: a log is refused in a sentence, or everything can be made of it."""
    events = [json.loads(line) for line in data.draw(st.sampled_from(sorted(logs.values()))).read_text().splitlines()]
    event = data.draw(st.sampled_from(events))
    *way, last = data.draw(st.sampled_from([path for path in _paths(event) if path]))
    place = event
    for name in way:
        place = place[name]
    place[last] = data.draw(st.sampled_from(WRONG))
    log = tmp_path / "run" / "events.jsonl"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(json.dumps(one) + "\n" for one in events))
    (watched,) = Runs(tmp_path).look()
    if watched.broken:
        with pytest.raises(MalformedError, match=r"events\.jsonl: line \d+ is no event"):
            read(log)
    else:
        found = read(log)
        run, lines = Run.of(found), Lines(Console(file=StringIO()))
        assert view(run, run.last_s, Frame("run", 80, 24))
        points = Points(log)
        for one in found:
            lines.event(one)
            list(points.take(one))
    assert JSONResponse([overview(watched), details(watched)]).body


def test_a_log_of_a_later_version_is_read_and_halves_of_letters_are_marked(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    end = {"time": 1.0, "event": "end", "seconds": 1.0, "failure": "x\ud800", "more": {"\udfff": ["\ud83d\ude00\udc00"]}}
    later = {"time": 1.0, "event": "of the future", "phase": 3}
    log.write_text(json.dumps(end) + "\n" + json.dumps(later) + "\n")
    assert read(log) == [{**end, "failure": "x\ufffd", "more": {"\ufffd": ["\U0001f600\ufffd"]}}, later]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"event": "end", "seconds": 1.0, "failure": null}', "end: time lacks"),
        ('{"event": "of the future"}', "of the future: time lacks"),
        ('{"time": 1e12, "event": "of the future"}', "time is no number"),
        ('{"time": 1.0, "event": "end", "seconds": "1", "failure": null}', "end: seconds is no number"),
        ('{"time": 1.0, "event": "end", "seconds": NaN, "failure": null}', "line 1 is no event"),
        ('{"time": 1.0, "event": "end", "seconds": 1e999, "failure": null}', "line 1 is no event"),
        ('{"time": 1.0, "event": "evaluation", "server_round": 9223372036854775808, "metrics": {}}', "server_round is no whole number"),
        ('{"time": 1.0, "event": "evaluation", "server_round": 1, "metrics": {"a": 1' + "0" * 400 + "}}", "line 1 is no event"),
        ("[" * 100_000, "line 1 is no event"),
        ('{"time": 1.0, "event": "round", "phase": "query"}', "line 1 is no event as"),
        ("\xff", "line 1 is no event"),
    ],
)
def test_a_line_that_is_not_to_the_schema_is_refused_with_its_number(tmp_path: Path, line: str, fault: str) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(MalformedError, match=re.escape(fault)):
        read(log)
