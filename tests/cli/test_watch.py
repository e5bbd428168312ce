"""`stfed watch`: in a real terminal a view that redraws and leaves it clean, in lines everywhere else."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stfed.cli import main
from stfed.cli.live import redraws, show
from tests.cli.commands import ROOT
from tests.flower import apps

ENTER, LEAVE, SHOW_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
ROUNDS = 2
MALFORMED = 4


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The event log of a run, line by line."""
    log = tmp_path_factory.mktemp("log") / "events.jsonl"
    apps.secure(events=log).start(apps.secure_grid(4, {"action": "drop-reply", "node": 1, "step": "train"}), apps.model(), ROUNDS)
    return log.read_bytes().splitlines(keepends=True)


class Terminal:
    """A process with a terminal of its own, of 80 columns and 24 rows."""

    def __init__(self, *arguments: str) -> None:
        self.said, (self._master, slave) = b"", pty.openpty()
        self.resize(80, 24)
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stfed", *arguments],
            cwd=ROOT,
            env={**environment, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, condition: Callable[[bytes], bool]) -> None:
        """Reads until it has said so, or is over."""
        deadline = time.monotonic() + 30
        while not condition(self.said):
            assert time.monotonic() < deadline, self.said
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    data = os.read(self._master, 1 << 16)
                except OSError:  # the other end is closed
                    return
                if not data:
                    return
                self.said += data

    def end(self) -> int:
        """Its exit code, when all that it says has been read."""
        self.until(lambda _: False)
        os.close(self._master)
        return self.process.wait(30)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_run_is_followed_in_a_terminal_to_its_end(terminal: Callable[..., Terminal], lines: list[bytes], tmp_path: Path) -> None:
    log = tmp_path / "study" / "events.jsonl"
    log.parent.mkdir()
    log.write_bytes(lines[0])
    watching = terminal("watch", str(log))
    watching.until(lambda said: b"running" in said)
    training = next(at for at, line in enumerate(lines) if b'"step": "train"' in line)
    with log.open("ab") as file:
        file.writelines(lines[1 : training + 1])
    watching.until(lambda said: b"answered" in said)
    watching.resize(60, 12)
    watching.process.send_signal(signal.SIGWINCH)
    seen = len(watching.said)
    watching.until(lambda said: len(said) > seen + 4000)
    small = watching.said.rsplit(b"\x1b[H", 2)[1].decode()
    assert len(small.splitlines()) <= 12
    with log.open("ab") as file:
        file.writelines(lines[training + 1 :])
    assert watching.end() == 0
    said = watching.said
    assert (said.count(ENTER), said.count(LEAVE)) == (1, 1)
    assert said.index(LEAVE) < said.rindex(b"done")  # what stays is the last picture
    assert said.rindex(SHOW_CURSOR) > said.rindex(b"\x1b[?25l")
    assert b"round 2 of 2" in said[said.index(LEAVE) :]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_to_end_leaves_a_clean_terminal(
    terminal: Callable[..., Terminal], lines: list[bytes], tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"".join(lines[:-1]))
    watching = terminal("watch", str(log))
    watching.until(lambda said: b"Ctrl+C leaves" in said)
    watching.process.send_signal(sent)
    assert watching.end() == code
    assert watching.said.count(LEAVE) == 1
    assert watching.said.rindex(SHOW_CURSOR) > watching.said.rindex(b"\x1b[?25l")
    assert b"Traceback" not in watching.said


def test_into_a_pipe_go_lines(lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"".join(lines))
    assert main(["watch", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "FedAvg over secure sums: semi-honest" in output
    assert output.count("1 dropped") == ROUNDS
    assert output.splitlines()[-1].startswith("done in")


def test_a_failed_run_exits_1(lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end = {**json.loads(lines[-1]), "failure": "power"}
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"".join(lines[:-1]) + json.dumps(end).encode() + b"\n")
    assert main(["watch", str(log), "--lines"]) == 1
    assert capsys.readouterr().err == "error: the run did not get to its end: power\n"


def test_without_a_name_it_is_the_newest_run(
    lines: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["watch"]) == 1
    assert "there is no run in" in capsys.readouterr().err
    for name, at in (("new", 2000.0), ("old", 1000.0)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        start = {**json.loads(lines[0]), "strategy": f"Strategy of the {name} run", "time": at}
        (tmp_path / "runs" / name / "events.jsonl").write_bytes(json.dumps(start).encode() + b"\n" + b"".join(lines[1:]))
    assert main(["watch"]) == 0
    assert "Strategy of the new run" in capsys.readouterr().out
    assert main(["watch", "runs/nothing"]) == 1
    assert "there is no event log" in capsys.readouterr().err


def test_a_log_cannot_steer_the_terminal_in_lines_either(lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [json.loads(line) for line in lines]
    for event in events:
        if event["event"] == "round":
            event["metrics"] = {"\x1b[2J[bold]loss": 0.5}
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert main(["watch", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "[bold]loss 0.5000" in output


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"CI": "true"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_when_it_redraws(terminal: bool, environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert redraws() == expected


def written(log: Path, events: list[dict[str, Any]]) -> Path:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    return log


def test_of_two_runs_in_a_log_the_last_one_is_shown(lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That the first one came to its end says nothing about the second, which failed."""
    events = [json.loads(line) for line in lines]
    old = [{**events[0], "strategy": "Old"}, *events[1:]]
    new = [{**events[0], "strategy": "New"}, *events[1:-1], {**events[-1], "failure": "power"}]
    log = written(tmp_path / "events.jsonl", old + new)
    assert main(["watch", str(log), "--lines"]) == 1
    said = capsys.readouterr()
    assert "New" in said.out
    assert "Old" not in said.out
    assert "power" in said.err
    console = Console(file=StringIO())
    meant = [{**old[0], "run": "7"}, *old[1:]]
    assert show(written(log, meant + new), console, "", over=lambda: True, live=False, run="7").end == old[-1]


def planted(value: Any, evil: str) -> Any:
    """The same with an evil text before every text but where an event says which it is; names of texts and numbers too."""
    if isinstance(value, dict):
        keep = ("event", "time", "phase", "asked", "summed", "confirmed", "dropped", "refused")
        names = {name: name if value.get("event") else evil + name for name in value}
        return {names[name]: one if name in keep and value.get("event") else planted(one, evil) for name, one in value.items()}
    if isinstance(value, list):
        return [planted(one, evil) for one in value]
    return evil + value if isinstance(value, str) else value


EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e[bold]"


def test_no_text_of_a_log_and_no_folder_steers_the_terminal(
    terminal: Callable[..., Terminal], lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [planted(json.loads(line), EVIL) for line in lines]
    events[0]["settings"] = {**json.loads(lines[0])["settings"], "mode": EVIL}
    for event in events:
        if event["event"] == "round":
            event["dropped"] = {node: dict.fromkeys(("step", "reason", "detail"), EVIL) for node in event["asked"][:1]}
    for failure in (None, EVIL + "\nhint: run this"):
        events[-1]["failure"] = failure
        log = written(tmp_path / "a\x1b[3mb\x9b" / "events.jsonl", events)
        assert main(["watch", str(log), "--lines"]) == (failure is not None)
        said = capsys.readouterr()
        assert not {letter for letter in said.out + said.err if not letter.isprintable() and letter != "\n"}
        assert "[bold]" in said.out
        assert not [line for line in said.err.splitlines() if line.startswith("hint:")]
        watching = terminal("watch", str(log))
        watching.end()
        shown = watching.said.decode()
        assert "\x1b]" not in shown
        assert not set(re.findall(r"\x1b\[[0-9;?]*[^m0-9;?]", shown)), "nothing but colours"
        assert not {"\x07", "\x9b", "\u202e"} & set(shown)
        assert "[bold]" in shown
        assert "\x1b[3m" not in shown
    for field in ("epoch", "server_round"):
        number = {**json.loads(next(line for line in lines if b'"%s"' % field.encode() in line)), field: EVIL}
        assert main(["watch", str(written(log, [json.loads(lines[0]), number]))]) == MALFORMED
        assert "\x1b" not in "".join(capsys.readouterr())


def test_a_run_that_cannot_be_read_does_not_hide_the_others(
    lines: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = written(tmp_path / "runs" / "broken" / "events.jsonl", [{"event": "start"}])
    assert main(["watch"]) == MALFORMED
    assert "no run in" in capsys.readouterr().err
    written(tmp_path / "runs" / "sound" / "events.jsonl", [json.loads(line) for line in lines])
    assert main(["watch"]) == 0
    said = capsys.readouterr()
    assert "FedAvg over secure sums" in said.out
    assert said.err.startswith("note: passed over 1 of 2 runs")
    for command in (["watch", str(broken)], ["report", str(broken.parent)], ["export", str(broken), "--tensorboard", "tb"]):
        assert main(command) == MALFORMED
        assert "line 1 is no event as docs/events.md has them: start: time lacks" in capsys.readouterr().err
