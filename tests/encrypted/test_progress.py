"""Progress goes to the callback of the block, or to a terminal when it takes long, and nowhere else."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from stfed.encrypted import progress
from tests.encrypted import keys


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Not a fixture: pytest puts its own stderr in place before a test begins."""
    monkeypatch.setattr(progress, "_busy", progress._Busy())
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def test_a_callback_hears_of_every_ciphertext() -> None:
    heard, context = [], keys.usual().public
    with progress.showing(lambda *told: heard.append(told)):
        made = context.each("zero", [(0,)] * 3)
        keys.usual().slots_of(made)
        thread = threading.Thread(target=context.each, args=("zero", [(0,)]))  # has a context of its own
        thread.start()
        thread.join()
    context.each("zero", [(0,)])
    assert heard == [(what, done, 3) for what in ("zero", "decrypt") for done in (1, 2, 3)]


def test_an_error_of_the_callback_ends_the_work_and_the_block() -> None:
    def enough(what: str, done: int, total: int) -> None:
        raise InterruptedError(f"{what} {done} {total}")

    with pytest.raises(InterruptedError, match="zero 1 3"), progress.showing(enough):
        keys.usual().public.each("zero", [(0,)] * 3)
    assert len(keys.usual().public.each("zero", [(0,)] * 3)) == 3


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_S", -1.0)
    with progress.reported("encrypt", 2) as advance:
        advance()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw and some servers
    with progress.reported("encrypt", 2) as advance:
        advance()


def test_a_bar_comes_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)
    with progress.reported("encrypt", 2) as advance:
        advance()
        advance()
    assert terminal.getvalue() == ""
    monkeypatch.setattr(progress, "_QUIET_S", 0.0)
    with progress.reported("encrypt", 2) as advance:
        advance()
        advance()
    assert "encrypt (ciphertexts)" in terminal.getvalue()


def test_batches_one_after_the_other_are_one_work(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_QUIET_S", 0.06)

    def batches(pause_s: float) -> str:
        for _ in range(4):
            with progress.reported("rotate", 1) as advance:
                time.sleep(0.03)
                advance()
            time.sleep(pause_s)
        return terminal.getvalue()

    monkeypatch.setattr(progress, "_PAUSE_S", 0.0)
    assert batches(0.01) == ""
    monkeypatch.setattr(progress, "_PAUSE_S", 10.0)
    assert "rotate (ciphertexts)" in batches(0.0)
