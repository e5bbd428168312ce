"""The real deployment, whole: SuperLink and SuperNodes as processes, TLS, malicious mode, a SIGKILL in each phase (examples/deployment)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHASES = ("JOIN", "PREPARE", "TRAIN", "CONFIRM", "UNMASK")


@pytest.mark.e2e
def test_the_deployment_demo_holds(tmp_path: Path) -> None:
    folder = tmp_path / "play"
    command = [sys.executable, "-m", "examples.deployment", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "everything held" in said
    assert "NOT everything held" not in said
    # The play kills whom it says it kills, and the coordinator's own account shows what came of it.
    for phase in PHASES:
        assert f"which had answered {phase} and not sent it" in said
    events = [json.loads(line) for line in (folder / "coordinator" / "out" / "events.jsonl").read_text().splitlines()]
    rounds = [event for event in events if event["event"] == "round"]
    assert [len(event["summed"]) for event in rounds] == [7, 6, 8, 8, 8]
    assert all(event["failure"] is None for event in rounds)
    assert len({event["run"] for event in events if event["event"] == "start"}) == 2
    # Where nobody is new and nobody is lost, a round is three messages to each ward: PREPARE has ridden on the UNMASK before.
    assert "3 a round: TRAIN, CONFIRM, UNMASK" in said
    # What was searched was there to be searched.
    assert sum(path.stat().st_size for path in (folder / "wire").iterdir()) > 100_000
    assert sum(path.stat().st_size for path in (folder / "coordinator" / "received").iterdir()) > 100_000


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    command = [sys.executable, "-m", "examples.deployment", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
