"""`stfed keygen | seal | open | inspect`, through `main`, on real files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed import cli, sealed
from stfed.sealed.numpy import save_file

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str | Path) -> int:
    return cli.main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs a command that must fail and returns the one clear line."""
    before = {path: path.read_bytes() for path in _files(arguments)}
    assert run(*arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))
    assert {path: path.read_bytes() for path in _files(arguments)} == before
    return lines[0]


def _files(arguments: tuple[str | Path, ...]) -> list[Path]:
    folders = {argument.parent for argument in arguments if isinstance(argument, Path) and argument.parent.is_dir()}
    return sorted(path for folder in folders for path in folder.iterdir() if path.is_file())


def a_folder(tmp_path: Path) -> Path:
    """A key pair and a plain file."""
    assert run("keygen", "--out", tmp_path / "me") == 0
    safetensors.numpy.save_file({"w": np.arange(1000, dtype=np.float32)}, tmp_path / "plain", {"a": "b"})
    return tmp_path


@pytest.mark.parametrize(("kind", "start"), [("hybrid", "age1pq1"), ("x25519", "age1")])
def test_keygen(kind: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keygen", "--out", tmp_path / "me", "--kind", kind) == 0
    output = capsys.readouterr()
    public = (tmp_path / "me.pub").read_text()
    assert public.startswith(start)
    assert output.out == f"{sealed.read_recipient(tmp_path / 'me.pub').fingerprint}\n"
    assert stat.S_IMODE((tmp_path / "me").stat().st_mode) == 0o600
    secret = sealed.read_identity(tmp_path / "me").secret_string()
    assert secret not in output.out + output.err
    assert "never overwritten" in refused(capsys, "keygen", "--out", tmp_path / "me")


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    capsys.readouterr()
    assert run("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "sealed") == 0
    assert capsys.readouterr() == ("", "")
    assert run("open", folder / "sealed", "--identity", folder / "me", "--out", folder / "back") == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "nothing proves who sealed it" in output.err
    assert (folder / "back").read_bytes() == (folder / "plain").read_bytes()
    assert safetensors.numpy.load_file(folder / "back")["w"].sum() == 499_500
    assert stat.S_IMODE((folder / "back").stat().st_mode) == 0o600


def test_several_recipients_and_identities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    for name in ("you", "stranger"):
        assert run("keygen", "--out", folder / name) == 0
    you = (folder / "you.pub").read_text().strip()
    assert run("seal", folder / "plain", "--recipient", folder / "me.pub", "--recipient", you, "--out", folder / "sealed") == 0
    for name in ("me", "you"):
        assert run("open", folder / "sealed", "--identity", folder / "stranger", "--identity", folder / name, "--out", folder / "back") == 0
    capsys.readouterr()
    error = refused(capsys, "open", folder / "sealed", "--identity", folder / "stranger", "--out", folder / "other")
    assert "is sealed to 2 hybrid keys and not to" in error


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    save_file({"w": np.zeros(3)}, folder / "sealed", recipients=folder / "me.pub", provenance={"round": 4})
    capsys.readouterr()
    assert run("inspect", folder / "sealed", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads(json.dumps(sealed.inspect(folder / "sealed").to_dict()))
    assert (facts["recipients"], facts["provenance"], facts["signed"]) == ({"mlkem768x25519": 1}, {"round": 4}, False)
    assert run("inspect", folder / "sealed") == 0
    assert capsys.readouterr().out == sealed.inspect(folder / "sealed").table() + "\n"


def test_refusals_write_nothing_and_say_one_clear_thing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    assert run("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "sealed") == 0
    assert run("keygen", "--out", folder / "short", "--kind", "x25519") == 0
    (folder / "cut").write_bytes((folder / "sealed").read_bytes()[:-5])
    (folder / "broken").write_bytes((folder / "plain").read_bytes()[:-5])
    (folder / "link").symlink_to("plain")
    (folder / "open").write_text((folder / "me").read_text())
    (folder / "open").chmod(0o644)
    capsys.readouterr()
    seal = ("--recipient", folder / "me.pub", "--out", folder / "out")
    identity = ("--identity", folder / "me", "--out")
    for arguments, says in (
        (("seal", folder / "sealed", *seal), "sealed: it is sealed already"),
        (("seal", folder / "broken", *seal), "broken: the safetensors header describes"),
        (("seal", folder / "me", *seal), "me: the content is no safetensors file"),
        (("seal", folder / "none", *seal), "No such file or directory"),
        (("seal", folder / "plain", "--recipient", folder / "me", "--out", folder / "out"), "this is a secret key"),
        (("seal", folder / "plain", "--recipient", folder / "no.pub", "--out", folder / "out"), "there is no key file"),
        (("seal", folder / "plain", "--recipient", "age1typo", "--out", folder / "out"), "age1typo: the key is cut off"),
        (("seal", folder / "plain", *seal, "--recipient", folder / "short.pub"), "hybrid and x25519 recipients in one file"),
        (("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "plain"), "input and output at once"),
        (("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "link"), "symbolic link"),
        (("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder), "is a folder"),
        (("seal", folder / "plain", "--recipient", folder / "me.pub", "--out", folder / "no" / "where"), "there is no folder"),
        (("open", folder / "plain", *identity, folder / "out"), "plain: not sealed: it looks like a plain safetensors file"),
        (("open", folder / "cut", *identity, folder / "out"), "cut: the file is"),
        (("open", folder / "sealed", *identity, folder / "sealed"), "input and output at once"),
        (("open", folder / "sealed", *identity, folder / "link"), "symbolic link"),
        (("open", folder / "sealed", "--identity", folder / "open", "--out", folder / "out"), "others than its owner"),
        (("open", folder / "sealed", "--identity", folder / "me.pub", "--out", folder / "out"), "this is no secret key"),
        (("open", folder / "sealed", "--identity", folder / "none", "--out", folder / "out"), "there is no key file"),
        (("open", folder / "sealed", "--identity", folder / "short", "--out", folder / "out"), "is sealed to 1 hybrid key and not to"),
        (("inspect", folder / "plain"), "not sealed"),
        (("inspect", folder / "none"), "No such file or directory"),
    ):
        assert says in refused(capsys, *arguments), arguments
        assert not (folder / "out").exists()


def test_a_secret_key_on_the_command_line_is_not_echoed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(tmp_path)
    secret = sealed.read_identity(folder / "me").secret_string()
    capsys.readouterr()
    for arguments in (("open", folder / "plain", "--identity", secret), ("seal", folder / "plain", "--recipient", secret)):
        assert secret[20:40] not in refused(capsys, *arguments, "--out", folder / "out")


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("seal", "x"), ("open", "x"), ("keygen",), ("keygen", "--out", str(tmp_path / "k"), "--kind", "rsa"), ("inspect",)):
        assert run(*arguments) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


PROGRESS = """
import sys
from stfed import cli
import stfed.cli.sealed
stfed.cli.sealed._QUIET_S = float(sys.argv.pop(1))
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("quiet_s", "shown"), [("0", True), ("60", False)])
def test_a_bar_on_a_terminal_for_what_takes_long(quiet_s: str, shown: bool, tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    save_file({"w": np.zeros(3_000_000, np.float32)}, folder / "sealed", recipients=folder / "me.pub")
    master, slave = os.openpty()
    command = [
        sys.executable,
        "-c",
        PROGRESS,
        quiet_s,
        "open",
        str(folder / "sealed"),
        "--identity",
        str(folder / "me"),
        "--out",
        str(folder / "b"),
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, check=False, cwd=ROOT, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    screen = os.read(master, 1 << 16).decode()
    os.close(master)
    assert result.returncode == 0
    assert result.stdout == b""
    assert ("opening" in screen) is shown
    assert "nothing proves who sealed it" in screen
