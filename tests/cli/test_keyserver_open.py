"""`stfed open --keyserver`: the whole way through two real processes, with a file that only the service has a key to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, done, fingerprint, keys, plain, refused, run


@contextmanager
def running(config: Path) -> Iterator[str]:
    """The service as a process; its URL."""
    command = [sys.executable, "-m", "stfed", "keyserver", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    try:
        ready = process.stderr.readline()
        assert " ready on https://" in ready, ready + process.stderr.read()
        yield ready.split()[-1]
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def test_open_through_a_key_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys(tmp_path, "alice", "bob")
    service = tmp_path / "service"
    assert run("keyserver", "init", service, "--port", "0") == 0
    for name, role in (("alice", "owner"), ("bob", "recipient")):
        assert run("roster", "add", service / "roster.toml", name, "--key", tmp_path / f"{name}.pub", "--role", role) == 0
    sealing = ("--recipient", service / "keyserver.key.pub", "--sign", tmp_path / "alice", "--purpose", "research")
    assert run("seal", plain(tmp_path), *sealing, "--out", tmp_path / "sealed") == 0
    opening = ("open", tmp_path / "sealed", "--out", tmp_path / "back", "--service-key", service / "keyserver.key.pub")
    by_bob = ("--sign", tmp_path / "bob", "--ca", service / "tls.crt", "--purpose", "research")
    with running(service / "keyserver.toml") as url:
        done(capsys, *opening, *by_bob, "--keyserver", url)
        assert (tmp_path / "back").read_bytes() == (tmp_path / "plain").read_bytes()
        (tmp_path / "back").unlink()
        assert run("roster", "revoke", service / "roster.toml", "bob") == 0
        assert run(*opening, *by_bob, "--keyserver", url) == 5
        assert "refuses" in capsys.readouterr().err
    assert run(*opening, *by_bob, "--keyserver", url) == 1
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "back").exists()
    released = done(capsys, "audit", "log", service / "audit.db", "--kind", "key-release")[0]
    assert fingerprint(tmp_path / "bob.pub", "signing") in released


def test_what_belongs_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opening = ("open", "sealed", "--out", tmp_path / "back")
    assert "--keyserver needs --service-key" in refused(capsys, *opening, "--keyserver", "https://localhost:1", code=2)
    assert "are for --keyserver" in refused(capsys, *opening, "--identity", "key", "--ca", "tls.crt", code=2)
