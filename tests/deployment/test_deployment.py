"""The real deployment, whole: SuperLink and SuperNodes as processes, TLS, malicious mode, a SIGKILL in each phase (examples/deployment)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.deployment.__main__ import main

ROOT = Path(__file__).parents[2]
WARDS = 7  # the fewest that the play works with: a message costs each of them a process of its own
PHASES = ("JOIN", "PREPARE", "TRAIN", "CONFIRM", "UNMASK", "UNMASK+PREPARE")


@pytest.mark.e2e
def test_the_deployment_demo_holds(tmp_path: Path) -> None:
    folder = tmp_path / "play"
    command = [sys.executable, "-m", "examples.deployment", "--wards", str(WARDS), str(folder)]
    # Seven nodes that ask their own SuperExec ten times a second are half a processor.
    environment = {**os.environ, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "everything held" in said
    assert "NOT everything held" not in said
    # The play kills whom it says it kills, and the coordinator's own account shows what came of it.
    for phase in PHASES:
        assert f"which had answered {phase} and not sent it" in said
    events = [json.loads(line) for line in (folder / "coordinator" / "out" / "events.jsonl").read_text().splitlines()]
    rounds = [event for event in events if event["event"] == "round"]
    assert [len(event["summed"]) for event in rounds] == [WARDS - 1, WARDS - 2, WARDS, WARDS - 1]
    assert all(event["failure"] is None for event in rounds)
    assert len({event["run"] for event in events if event["event"] == "start"}) == 2
    # A round is three messages to each ward, because PREPARE has ridden on the UNMASK before. Only who was killed over that gets it again,
    # alone, and is out of that round: its keys were in the memory of its SuperNode.
    assert f"3 a round: TRAIN, CONFIRM, UNMASK; PREPARE to 1 of {WARDS}" in said
    # What was searched was there to be searched.
    assert sum(path.stat().st_size for path in (folder / "wire").iterdir()) > 100_000
    assert sum(path.stat().st_size for path in (folder / "coordinator" / "received").iterdir()) > 100_000


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    assert main([str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_too_few_wards_for_what_happens_to_them_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--wards", str(WARDS - 1), str(tmp_path)])
    assert f"--wards is at least {WARDS}" in capsys.readouterr().err
