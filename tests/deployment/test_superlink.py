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
from stfed.errors import LocalError
from stfed.flower import processes
from stfed.flower.processes import free_port
from stfed.flower.runtime import to_toml
from stfed.flower.superlink import SuperLinkRun, connections
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


def fake_flwr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A command that says what the real one says only when something is wrong."""
    path = tmp_path / "flwr"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(processes, "tool", lambda _: str(path))


def test_a_log_is_read_from_where_it_was_left_and_its_last_line_needs_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_flwr(tmp_path, monkeypatch, """[ "$1" = run ] && echo '{"run-id": "7"}' || printf 'one\\ntwo\\n\\377three'""")
    with SuperLinkRun(APP, "study", {"text": "\U0001f600"}) as run:
        assert run.run_id == "7"
        wait_until(run.finished, "the log did not end", tmp_path)
        assert run.new_lines(0) == (["one", "two"], 8)
        assert run.new_lines(4) == (["two"], 8)
        assert run.new_lines(8) == ([], 8)
        assert run.new_lines(8, last=True) == (["\ufffdthree"], 14)


def test_what_is_said_in_no_encoding_is_an_error_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_flwr(tmp_path, monkeypatch, "printf '\\377 what'")
    with pytest.raises(LocalError, match="does not answer in JSON:\n\ufffd what"):
        connections()


def test_run_files_that_cannot_be_run_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_flwr(tmp_path, monkeypatch, f"touch '{tmp_path}/ran'")
    file, out = tmp_path / "study.toml", tmp_path / "out"
    cases = [
        (b"x = '\xff'", "is not UTF-8"),
        (b"x = " + b"9" * 5000, "is not TOML"),
        (b"x = " + b"[" * 5000, "is not TOML"),
        (b"x = 2026-01-01", "the run config's 'x' is of the kind date"),
        (b"x = nan", "the run config's 'x' is nan"),
    ]
    for content, said in cases:
        file.write_bytes(b"num-parties = 3\n" + content)
        for place in (["--out", str(out)], ["--superlink", "study"]):
            assert main(["run", str(file), "--app", str(APP), *place]) == 1
            errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1
            assert said in errors[0]
    file.write_text("num-parties = true")
    assert main(["run", str(file), "--app", str(APP), "--out", str(out)]) == 1
    assert "does not say how many parties" in capsys.readouterr().err
    file.write_text("num-parties = 3")
    assert main(["run", str(file), "--app", str(APP), "--superlink=--help"]) == 1
    assert "'--help' is no name of a SuperLink" in capsys.readouterr().err
    assert not out.exists()
    assert not (tmp_path / "ran").exists()
