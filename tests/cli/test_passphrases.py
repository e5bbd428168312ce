"""Passphrases from a real terminal, and what happens where there is none."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from stfed.keys import read_signer
from tests.cli.commands import ROOT, done, keys, plain, refused

TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "stfed", *sys.argv[1:]])
"""


def on_a_terminal(arguments: list[object], typed: list[str]) -> tuple[int, str]:
    """Runs the real process on a terminal of its own and types a line at each prompt; the exit code and what the screen shows."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=environment()
    )
    os.close(slave)
    screen = b""
    prompts = 0
    while data := _read(master):
        screen += data
        if screen.count(b": ") > prompts and typed:
            prompts = screen.count(b": ")
            os.write(master, typed.pop(0).encode() + b"\n")
    os.close(master)
    process.kill()  # if it still waits for somebody to type, after all that was to be typed
    return process.wait(60), screen.decode()


def _read(terminal: int) -> bytes:
    """What appears on the screen; nothing once the process has ended, or does nothing any more."""
    if not select.select([terminal], [], [], 30)[0]:
        return b""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # what Linux says when the other side has closed
        return b""


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "STFED_PASSPHRASE"}


def test_a_new_passphrase_is_typed_twice_and_never_shown(tmp_path: Path) -> None:
    command: list[object] = ["keygen", "--out", tmp_path / "me", "--only", "signing", "--passphrase"]
    code, screen = on_a_terminal(command, ["of many", "of may"])
    assert code == 1
    assert "the two passphrases differ" in screen
    assert not (tmp_path / "me").exists()
    code, screen = on_a_terminal(command, ["of many", "of many"])
    assert code == 0
    assert "many" not in screen
    read_signer(tmp_path / "me", "of many")


def test_a_protected_key_is_asked_for_once_for_two_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file holds the key to open with and the one to sign with."""
    keys(tmp_path, "bob")
    words = tmp_path / "words"
    words.write_text("of many\n")
    words.chmod(0o600)
    done(capsys, "keygen", "--out", tmp_path / "me", "--kind", "x25519", "--passphrase-file", words)
    done(capsys, "seal", plain(tmp_path), "--recipient", tmp_path / "me.pub", "--sign", tmp_path / "me",
         "--passphrase-file", words, "--out", tmp_path / "sealed")  # fmt: skip
    grant: list[object] = ["grant", tmp_path / "sealed", "--recipient", tmp_path / "bob.pub"]
    grant += ["--sign", tmp_path / "me", "--identity", tmp_path / "me"]
    code, screen = on_a_terminal(grant, ["wrong"])
    assert (code, "does not fit" in screen) == (3, True)
    code, screen = on_a_terminal(grant, ["of many"])
    assert code == 0, screen
    assert screen.count("passphrase for") == 1
    done(capsys, "open", tmp_path / "sealed", "--identity", tmp_path / "bob", "--out", tmp_path / "back")


def test_a_passphrase_recipient(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STFED_PASSPHRASE", "of many")
    done(capsys, "seal", plain(tmp_path), "--passphrase", "--out", tmp_path / "sealed")
    done(capsys, "open", tmp_path / "sealed", "--passphrase", "--out", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "plain").read_bytes()
    monkeypatch.setenv("STFED_PASSPHRASE", "of may")
    refused(capsys, "open", tmp_path / "sealed", "--passphrase", "--out", tmp_path / "other", code=3)


def test_no_terminal_to_ask_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stfed", "keygen", "--out", str(tmp_path / "me"), "--passphrase"]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True, cwd=ROOT, env=environment(), check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: a passphrase is needed, and there is no terminal")
    assert "STFED_PASSPHRASE" in result.stderr
    assert list(tmp_path.iterdir()) == []
