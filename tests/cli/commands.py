"""What the tests of the command line share: running a command in process, keys, files, and what a refusal looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed import cli

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def done(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """Runs a command that must succeed; what it printed on stdout and on stderr."""
    capsys.readouterr()
    code = run(*arguments)
    output = capsys.readouterr()
    assert code == 0, output.err
    return output.out, output.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 1) -> str:
    """Runs a command that must fail, print nothing on stdout and change no file beside its arguments; the error and the hint."""
    capsys.readouterr()
    before = {path: path.read_bytes() for path in _files(arguments)}
    assert run(*arguments) == code, capsys.readouterr().err
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), lines
    assert {path: path.read_bytes() for path in _files(arguments)} == before
    return output.err


def _files(arguments: tuple[object, ...]) -> list[Path]:
    folders = {argument.parent for argument in arguments if isinstance(argument, Path) and argument.parent.is_dir()}
    return sorted(path for folder in folders for path in folder.iterdir() if path.is_file())


def keys(folder: Path, *names: str, kind: str = "x25519") -> None:
    """Key pairs with both keys; the short kind, because what the tests ask is the same."""
    for name in names:
        assert run("keygen", "--out", folder / name, "--kind", kind) == 0


def plain(folder: Path) -> Path:
    """A plain file of one tensor."""
    path = folder / "plain"
    safetensors.numpy.save_file({"w": np.arange(1000, dtype=np.float32)}, path, {"a": "b"})
    return path


def fingerprint(path: Path, use: str = "encryption") -> str:
    """Of a key in a KEY.pub."""
    from stfed.keys import read_recipient, read_verifier

    return (read_recipient(path) if use == "encryption" else read_verifier(path)).fingerprint
