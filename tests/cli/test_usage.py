"""The manners that every command shares: wrong usage told with what was probably meant, exit codes, and a reader that goes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from stfed import __version__
from stfed.cli import main
from stfed.errors import PeerError
from tests.cli.commands import ROOT


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ([], "the following arguments are required: COMMAND", "see stfed --help"),
        (["--vers"], "there is no option --vers", "did you mean --version? see also stfed --help"),
        (["fly"], "there is no command 'fly'", "see stfed --help"),
        (["sael", "x"], "there is no command 'sael'", "did you mean stfed seal? see also stfed --help"),
        (["audit", "chek"], "there is no command 'chek'", "did you mean stfed audit check? see also stfed audit --help"),
        (["help", "audit", "chek"], "there is no command 'chek'", "did you mean stfed audit check? see also stfed audit --help"),
        (["help", "plan", "more"], "there is no command 'more'", "see stfed plan --help"),
        (["roster", "show", "x", "--jsno"], "there is no option --jsno", "did you mean --json? see also stfed roster show --help"),
        (
            ["seal", "x", "--out", "y", "--recipent=z"],
            "there is no option --recipent",
            "did you mean --recipient? see also stfed seal --help",
        ),
        (["inspect", "a", "b"], "unrecognized arguments: b", "see stfed inspect --help"),
        (["inspect", "--", "--json", "b"], "unrecognized arguments: b", "see stfed inspect --help"),
        (["plan"], "the following arguments are required: --parties", "see stfed plan --help"),
        (["plan", "--parties", "10", "--gamma", "some"], "argument --gamma: 'some' is no share", "see stfed plan --help"),
        (["plan", "--parties", "10", "--graph", "ring"], "--graph ring: choose auto, complete or sparse", "see stfed plan --help"),
        (["plan", "--parties", "10", "--graph", "spars"], "--graph spars: choose", "did you mean sparse? see also stfed plan --help"),
        (["plan", "--part", "10"], "there is no option --part", "did you mean --parties? see also stfed plan --help"),
    ],
)
def test_wrong_usage_exits_2_and_names_what_is_near(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, hint: str
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    first, second = output.err.splitlines()
    assert first.startswith(f"error: {error}")
    assert second == f"hint: {hint}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("seal", "x", "--passphrase", "hunter2", "--out", "y"),
        ("seal", "x", "--passphrase=hunter2", "--out", "y"),
        ("keygen", "--out", "y", "--passphrase", "hunter2"),
        ("keygen", "--out", "y", "--pasphrase=hunter2"),
    ],
)
def test_a_passphrase_that_was_typed_is_not_repeated(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(arguments)) == 2
    output = capsys.readouterr()
    assert "hunter2" not in output.out + output.err
    assert "--passphrase" in output.err


def test_a_value_where_none_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "x", "--json=yes"]) == 2
    assert capsys.readouterr().err == "error: --json takes no value\nhint: see stfed inspect --help\n"


def test_help_and_version_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stfed {__version__}\n"
    assert main(["--help"]) == 0
    assert "plan" in capsys.readouterr().out
    assert main(["plan", "--help"]) == 0


def raising(error: BaseException) -> Any:
    def run(_arguments: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (PeerError("the coordinator lied", party="c", hint="leave"), 1, "error: the coordinator lied\nhint: leave\n"),
        (PeerError("the coordinator lied"), 1, "error: the coordinator lied\n"),
        (FileNotFoundError(2, "No such file or directory", "x.key"), 1, "error: x.key: No such file or directory\n"),
        (OSError("disk on fire"), 1, "error: disk on fire\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_lines_and_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, stderr: str
) -> None:
    monkeypatch.setattr(import_module("stfed.cli.plan"), "_plan", raising(error))
    assert main(["plan", "--parties", "10"]) == code
    assert capsys.readouterr().err == stderr


def test_a_bug_is_not_dressed_up_as_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("stfed.cli.plan"), "_plan", raising(AssertionError("state")))
    with pytest.raises(AssertionError):
        main(["plan", "--parties", "10"])


def stfed(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stfed", *arguments], cwd=ROOT, text=True, timeout=60, check=False, **options)


def test_the_real_process() -> None:
    done = stfed("plan", "--parties", "1000", "--gamma", "0.05", "--delta", "0.05", "--no-measure", "--json", capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["k"] == 34
    refused = stfed("plan", "--parties", "1", capture_output=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: n = 1")


def test_a_reader_that_went_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = stfed("plan", "--parties", "10", "--no-measure", stdout=write_end, stderr=subprocess.PIPE)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")
