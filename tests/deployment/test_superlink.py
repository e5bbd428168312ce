"""`stfed run --superlink`: a named SuperLink is Flower's own, with TLS and SuperNodes that are processes; and what is refused says why."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stfed.cli import main
from stfed.cli.runlink import _place
from stfed.flower.processes import free_port
from stfed.flower.runtime import to_toml
from stfed.testing.deployment import SuperLink, SuperNode, Value, wait_until
from stfed.testing.pki import Authority, ServerFiles
from tests.cli.commands import ROOT

APP = ROOT / "benchmarks" / "deployed_app"
NODES = 3  # two are too few for a sum


def run_file(folder: Path, **values: Value) -> Path:
    path = folder / "study.toml"
    path.write_text(to_toml({key.replace("_", "-"): value for key, value in values.items()}))
    return path


def flower_home(folder: Path, monkeypatch: pytest.MonkeyPatch, **sections: dict[str, Value]) -> None:
    """Flower's configuration, as people have it."""
    folder.mkdir(exist_ok=True)
    lines = [f"[superlink.{name}]\n" + to_toml(values) for name, values in sections.items()]
    (folder / "config.toml").write_text("\n".join(lines))
    monkeypatch.setenv("FLWR_HOME", str(folder))


@dataclass(frozen=True)
class Deployment:
    """A SuperLink that is up, and SuperNodes that come."""

    link: SuperLink
    tls: ServerFiles
    nodes: tuple[SuperNode, ...]
    events: Path


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    tls = Authority.new("test authority").issue(["127.0.0.1", "localhost"], tmp_path / "tls")
    link, events = SuperLink(tmp_path / "link", tls, supernode_auth=False), tmp_path / "events.jsonl"
    link.start()
    nodes = [
        SuperNode(
            f"node-{number}",
            tmp_path / f"node-{number}",
            link.port,
            tls.authority,
            None,
            {"stfed-state-dir": str(tmp_path / f"state-{number}"), "stamps": str(tmp_path / f"stamps-{number}")},
        )
        for number in range(NODES)
    ]
    try:
        for node in nodes:
            node.start()
        yield Deployment(link, tls, tuple(nodes), events)
    finally:
        for node in nodes:
            node.kill()
        link.end()


@pytest.mark.e2e
def test_a_named_superlink_runs_the_app_and_its_event_log_is_followed(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address, authority = f"127.0.0.1:{deployment.link.port}", str(deployment.tls.authority)
    flower_home(tmp_path / "home", monkeypatch, study={"address": address, "root-certificates": authority})
    # What was in the log before is another run's, and its end is not this one's.
    old = {"time": 1.0, "event": "start", "strategy": "Old", "num_rounds": 1, "run": "1", "settings": {}}
    deployment.events.write_text(
        json.dumps(old) + "\n" + json.dumps({"time": 2.0, "event": "end", "seconds": 1.0, "failure": "power"}) + "\n"
    )
    values: dict[str, Value] = {"num_server_rounds": 1, "parties": NODES, "parameters": 50, "events": str(deployment.events)}
    # A run that fails needs no nodes, so it can beside this one; without --events it is Flower's log that is seen.
    broken = run_file(tmp_path / "home", **{**values, "mode": "nonsense", "events": ""})
    command = [sys.executable, "-m", "stfed", "run", str(broken), "--app", str(APP), "--superlink", "study"]
    failing = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    config = run_file(tmp_path, **values, marks=str(tmp_path / "marks"))
    for node in deployment.nodes:
        wait_until(node.online, f"{node.name} is not online", node.log)
    assert main(["run", str(config), "--app", str(APP), "--superlink", "study", "--events", str(deployment.events)]) == 0
    shown = capsys.readouterr()
    assert "run " in shown.err
    assert " is on the SuperLink 'study'" in shown.err
    assert "FedAvg over secure sums" in shown.out
    assert f"asked {NODES:>3}  summed {NODES:>3}" in shown.out
    assert "done in" in shown.out
    assert "Old" not in shown.out
    said, errors = failing.communicate(timeout=120)
    assert failing.returncode == 1
    assert "mode is 'nonsense'" in said
    assert "the event log is on the SuperLink's machine" in errors
    assert "ended as finished:failed" in errors.splitlines()[-2]
    assert errors.splitlines()[-1].startswith("hint: flwr log ")


def test_what_flower_refuses_is_one_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere: dict[str, Value] = {"address": f"127.0.0.1:{free_port()}", "insecure": True}
    flower_home(tmp_path / "home", monkeypatch, gone=nowhere, other={**nowhere, "root-certificates": "/no/such/file"})
    broken = shutil.copytree(APP, tmp_path / "broken", ignore=shutil.ignore_patterns("__pycache__"))
    project = broken / "pyproject.toml"
    project.write_text(project.read_text().replace("timed.secure:server", "timed.nothing:server"))
    config = str(run_file(tmp_path, num_server_rounds=1))
    cases = [
        (["--app", str(APP), "--superlink", "somebody"], "knows no SuperLink 'somebody'", "it knows gone, other"),
        (["--app", str(APP), "--superlink", "gone"], "the SuperLink 'gone' cannot be reached", "`address` of [superlink.gone]"),
        (["--app", str(broken), "--superlink", "gone"], "was not given the app", "flwr run "),
    ]
    with ThreadPoolExecutor() as pool:
        codes = list(pool.map(lambda case: main(["run", config, *case[0]]), cases))
    assert codes == [1, 1, 1]
    said = capfd.readouterr()
    assert said.out == ""
    for _, error, hint in cases:
        (line,) = (line for line in said.err.splitlines() if line.startswith("error: ") and error in line)
        assert any(other.startswith("hint: ") and hint in other for other in said.err.splitlines()), line


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--superlink", "x", "--out", "y"], "--out is for simulations"),
        (["--superlink", "x", "--json"], "--json prints the event log"),
        (["--events", "x"], "--events is for --superlink"),
    ],
)
def test_what_makes_no_sense_together_is_wrong_usage(
    arguments: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(run_file(tmp_path)), *arguments]) == 2
    assert error in capsys.readouterr().err


def test_where_the_event_log_is_comes_from_the_run_file() -> None:
    places: list[tuple[dict[str, Any], str]] = [
        ({"events": "/srv/e.jsonl"}, "/srv/e.jsonl"),
        ({"run-dir": "/srv/run"}, "/srv/run/events.jsonl"),
        ({}, "SecureAggregation(events=...)"),
    ]
    for values, place in places:
        assert place in _place(values)
