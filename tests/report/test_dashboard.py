"""The dashboard shows what the logs say while they are written, to whoever has its address and nobody else, and in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from stfed.flower.plain import PlainAggregation
from stfed.report.dashboard.app import build
from tests.cli.commands import refused
from tests.flower import apps

WORD = "secret-word"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one with groups and drops."""
    folder = tmp_path_factory.mktemp("runs")
    grid = apps.secure_grid(12, {"action": "drop-reply", "node": 3, "step": "train"})
    apps.secure(events=folder / "first" / "events.jsonl").start(grid, apps.model(), 2)
    apps.secure(events=folder / "deep" / "second" / "events.jsonl", group_size=4).start(apps.secure_grid(8), apps.model(), 2)
    PlainAggregation(apps.FedAvg(), events=folder / "unprotected" / "events.jsonl").start(apps.plain_grid(3), apps.model(), 1)
    return folder


def client(folder: Path, host: str = "127.0.0.1:8000") -> TestClient:
    return TestClient(build(folder, WORD), base_url=f"http://{host}")


def get(page: TestClient, path: str) -> Any:
    reply = page.get(f"/{WORD}/{path}")
    assert reply.status_code == 200, path
    return reply.json()


def test_runs_and_what_is_known_of_them(runs: Path) -> None:
    page = client(runs)
    listed = get(page, "runs.json")
    assert [(run["name"], run["state"], run["rounds"], run["parties"]) for run in listed] == [
        ("unprotected", "done", 1, 3),
        ("deep/second", "done", 2, 8),
        ("first", "done", 2, 12),
    ]
    told = get(page, "run.json?name=first")
    assert [one["summed"] for one in told["sums"] if one["phase"] == "train"] == [11, 11]
    assert list(told["sums"][0]["dropped"].values()) == ["train: no reply"]
    assert told["audit"] is None
    assert "train train_loss" in told["series"]
    assert told["warnings"] == []
    (warning,) = get(page, "run.json?name=unprotected")["warnings"]
    assert "NOTHING PROTECTED THE PARTIES" in warning
    nodes = re.findall(r'"asked": \[([^]]*)\]', (runs / "first" / "events.jsonl").read_text())[0]
    assert not any(node in json.dumps(told) for node in re.findall(r"[0-9]+", nodes)), "parties have pseudonyms here too"


def test_a_run_is_followed(runs: Path, tmp_path: Path) -> None:
    whole = (runs / "first" / "events.jsonl").read_bytes()
    log = tmp_path / "now" / "events.jsonl"
    log.parent.mkdir()
    page = client(tmp_path)
    lines = whole.splitlines(keepends=True)
    states = []
    for count in range(len(lines) + 1):
        log.write_bytes(b"".join(lines[:count]) + (lines[count][:20] if count < len(lines) else b""))
        states.append(get(page, "runs.json")[0]["state"])
    assert states == ["waiting"] + ["running"] * (len(lines) - 1) + ["done"]
    (step,) = [number for number, line in enumerate(lines) if b'"step": "unmask"' in line][:1]
    log.write_bytes(b"".join(lines[: step + 1]))
    (now,) = get(page, "run.json?name=now")["now"]
    assert (now["step"], now["phase"], now["server_round"]) == ("unmask", "train", 1)
    log.write_bytes(whole + whole)
    assert get(page, "run.json?name=now")["rounds"] == 2
    log.write_bytes(lines[0])
    assert get(page, "runs.json")[0]["state"] == "running", "a log that became shorter is another one"
    log.write_bytes(lines[0] + b"nonsense\n")
    assert get(page, "runs.json")[0]["state"] == "broken"
    assert "is no event" in get(page, "run.json?name=now")["broken"]


def test_only_with_the_secret_part_and_only_on_this_machine(runs: Path) -> None:
    paths = ("", "script.js", "runs.json", "run.json?name=first")
    page = client(runs)
    assert all(page.get(f"/{WORD}/{path}").status_code == 200 for path in paths)
    assert all(page.get(f"/{word}/{path}").status_code == 404 for path in paths for word in ("x", WORD[:-1], WORD + "x", WORD.upper()))
    for host in ("evil.example:8000", "127.0.0.1.evil.example", "evil.example"):
        assert all(client(runs, host).get(f"/{WORD}/{path}").status_code == 404 for path in paths)
    assert all(client(runs, host).get(f"/{WORD}/").status_code == 200 for host in ("localhost:1", "127.0.0.1:1"))
    assert page.post(f"/{WORD}/runs.json").status_code == 405


def test_nothing_but_runs_is_served(runs: Path, tmp_path: Path) -> None:
    page = client(runs)
    (runs / "other.txt").write_text("private")
    for path in ("app.py", "__init__.py", "other.txt", "%2e%2e/app.py", "..%2fapp.py"):
        assert page.get(f"/{WORD}/{path}").status_code == 404
    for name in ("", ".", "..", "../first", "/etc", "deep", "first/", "absent"):
        assert page.get(f"/{WORD}/run.json", params={"name": name}).status_code == 404
    (tmp_path / "elsewhere").symlink_to(runs / "first")
    assert get(client(tmp_path), "runs.json") == []


def test_pages_may_load_nothing_from_elsewhere(runs: Path) -> None:
    page = client(runs)
    for path in ("", "style.css", "script.js", "runs.json"):
        headers = page.get(f"/{WORD}/{path}").headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    script = page.get(f"/{WORD}/script.js").text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3\.org)", script)


@pytest.fixture
def served(runs: Path) -> Iterator[str]:
    """The address of the command itself."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "stfed", "dashboard", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)


def test_the_command(served: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", served)
    assert len(httpx.get(f"{served}runs.json").json()) == 3
    assert httpx.get(served.rsplit("/", 2)[0] + "/").status_code == 404


@pytest.mark.e2e
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_in_a_browser(served: str, tmp_path: Path) -> None:
    assert BROWSER is not None
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-gpu"]
    alone = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run([BROWSER, *alone, *quiet, f"{served}#first"], capture_output=True, text=True, timeout=120, check=True)
    page = done.stdout
    assert "<title>first: done</title>" in page
    assert page.count("<svg") >= 3
    assert page.count("<polyline") >= 3
    assert "deep/second" in page
    assert "plain: nothing protected" in page
    assert "What protects the parties" in page


def test_what_cannot_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder" in refused(capsys, "dashboard", tmp_path / "absent")
    assert "cannot listen on port 99999" in refused(capsys, "dashboard", tmp_path, "--port", "99999")
