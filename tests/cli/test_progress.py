"""What is shown of work that takes long: on a terminal, after a second, and gone afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stfed.cli import progress as module
from stfed.cli.progress import counting, progress, working
from tests.cli.commands import keys, plain, run
from tests.cli.terminals import terminal


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def counted() -> None:
    with counting("reading the log") as reached:
        assert reached is not None
        for done in range(1, 4):
            time.sleep(0.03)
            reached(done, 3)


def read() -> None:
    with progress(Path(__file__), "sealing") as advance:
        assert advance is not None
        for _ in range(3):
            time.sleep(0.03)
            advance(100)


def worked() -> None:
    with working("making the keys"):
        time.sleep(0.2)


@pytest.mark.parametrize(("work", "words"), [(counted, "reading the log"), (read, "sealing"), (worked, "making the keys")])
@pytest.mark.parametrize(("quiet_s", "shown"), [(0.05, True), (60.0, False)])
def test_what_takes_long_is_shown(
    work: Callable[[], None], words: str, quiet_s: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET_S", quiet_s)
    with terminal() as (stream, screen):
        monkeypatch.setattr("sys.stderr", stream)
        work()
    assert (words in screen.text) is shown
    assert shown or screen.text == ""
    assert "\x1b[2K" in screen.text[screen.text.rfind(words) :] or not shown  # erased


def test_what_lets_no_thread_run_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (stream, screen):
        monkeypatch.setattr("sys.stderr", stream)
        with working("making the keys", at_once=True):
            pass
    assert "making the keys" in screen.text


@pytest.mark.parametrize("dumb", [True, False])
def test_nothing_is_shown_where_nobody_looks(dumb: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    with terminal() as (stream, screen), (tmp_path / "file").open("w") as file:
        monkeypatch.setattr("sys.stderr", stream if dumb else file)
        with working("making the keys", at_once=True), counting("reading") as reached, progress(tmp_path, "sealing") as advance:
            assert reached is None
            assert advance is None
    assert screen.text == (tmp_path / "file").read_text() == ""


def failing() -> None:
    with counting("reading") as reached:
        assert reached is not None
        reached(1, 2)
        raise ValueError("bad")


def test_a_failure_leaves_no_bar_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    with terminal() as (stream, screen):
        monkeypatch.setattr("sys.stderr", stream)
        with pytest.raises(ValueError, match="bad"):
            failing()
        stream.write("error: bad\n")
    assert screen.text.endswith("\x1b[2Kerror: bad\n")


def test_commands_that_take_long_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, on a terminal, where everything takes too long."""
    keys(tmp_path, "me")
    mine, opens = ("--sign", tmp_path / "me"), ("--identity", tmp_path / "me")
    log, sealed = tmp_path / "audit.db", tmp_path / "sealed"
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    commands = {
        ("seal", plain(tmp_path), "--recipient", tmp_path / "me.pub", *mine, "--out", sealed, "--audit", log): "sealing",
        ("verify", sealed, "--trusted", tmp_path / "me.pub"): "verifying",
        ("open", sealed, *opens, "--out", tmp_path / "plain"): "opening",
        ("reseal", sealed, "--recipient", tmp_path / "me.pub", *mine, *opens): "sealing",
        ("audit", "verify", log): "reading the log",
        ("keygen", "--encrypted", "--depth", 1, "--no-rotations", "--out", tmp_path / "ckks"): "making the keys",
    }
    for command, words in commands.items():
        with terminal() as (stream, screen):
            monkeypatch.setattr("sys.stderr", stream)
            assert run(*command) == 0
        assert words in screen.text, command
