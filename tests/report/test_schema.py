"""The schema is what really is in event logs: runs of every kind are held against it, and docs/events.md is written from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flwr.app import MetricRecord

from stfed.errors import LocalError, MalformedError
from stfed.keys.encryption import generate_keypair
from stfed.report.blocks import Facts, Text
from stfed.report.eventlog import Event, find, follow, read
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
        log.write_text(json.dumps({"time": 1.0, "event": "end"}) + "\n" + text)
        with pytest.raises(MalformedError, match="is no event"):
            read(find(tmp_path))
