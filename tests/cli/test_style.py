"""Colours go to terminals only, and only to people who want them: asked of real terminals and real pipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stfed.cli.style import coloured, console, painted
from tests.cli.commands import ROOT
from tests.cli.terminals import stfed, terminal

ESCAPE = "\x1b["
CODES = re.compile(r"\x1b\[[0-9;]*m")


def test_help_and_errors_are_coloured_on_a_terminal() -> None:
    code, out, err = stfed("seal", "--help")
    assert (code, err) == (0, "")
    assert "\x1b[1mUsage:\x1b[0m stfed seal" in out
    assert "\x1b[36m--digest blake3|sha256\x1b[0m" in out
    code, out, err = stfed("sael")
    assert (code, out) == (2, "")
    assert (
        err == "\x1b[1;31merror:\x1b[0m there is no command 'sael'\n\x1b[36mhint:\x1b[0m did you mean stfed seal? see also stfed --help\n"
    )


def test_colours_are_all_that_differs() -> None:
    """What is aligned with colours is aligned without, and a copied text is the same text."""
    assert CODES.sub("", stfed("open", "--help", COLUMNS="80")[1]) == stfed("open", "--help", stdout=False, COLUMNS="80")[1]


@pytest.mark.parametrize(
    "variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}], ids=lambda variables: "-".join(variables)
)
def test_who_wants_none_gets_none_on_a_terminal(variables: dict[str, str]) -> None:
    _, out, err = stfed("policy", "chek", **variables)
    assert ESCAPE not in out + err
    assert "did you mean stfed policy check?" in err


def test_each_stream_is_asked_by_itself(tmp_path: Path) -> None:
    """Results in a pipe stay plain while the messages beside them, on a terminal, are coloured."""
    _, out, err = stfed("policy", "init", tmp_path / "policy.toml", stdout=False)
    assert out == ""
    assert err.startswith("\x1b[33mnote:\x1b[0m look through")
    _, out, err = stfed("--help", stdout=False, stderr=False)
    assert ESCAPE not in out + err


def test_force_color_colours_a_pipe() -> None:
    assert "\x1b[1mUsage:\x1b[0m" in stfed("--help", stdout=False, FORCE_COLOR="1")[1]


@pytest.mark.parametrize(
    ("variables", "on_terminal", "in_file"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_the_decision(variables: dict[str, str], on_terminal: bool, in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "file").open("w") as file, terminal() as (stream, _):
        assert (coloured(stream), coloured(file)) == (on_terminal, in_file)
        assert painted("x", "error", file) == ("\x1b[1;31mx\x1b[0m" if in_file else "x")
        monkeypatch.setattr("sys.stdout", stream)
        console().print("x", style="bold red")
    with pytest.raises(KeyError):
        painted("x", "rainbow", file)


def test_richs_console_decides_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for unwanted, expected in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", unwanted)
        with terminal() as (stream, screen):
            monkeypatch.setattr("sys.stdout", stream)
            console().print("x", style="bold red")
        assert (ESCAPE in screen.text) is expected
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        console().print("x", style="bold red")
    assert (tmp_path / "file").read_text() == "x\n"


def test_one_place_decides() -> None:
    """Nobody else writes escapes, or makes a console of rich's that prints; `liveview` only measures text with one."""
    sources = {path.name: path.read_text() for folder in ("cli", "demo") for path in (ROOT / "stfed" / folder).glob("*.py")}
    assert {name for name, text in sources.items() if "\\x1b" in text or "\\033" in text} == {"style.py"}
    assert {name for name, text in sources.items() if re.search(r"\bConsole\((?!\))", text)} <= {"style.py", "liveview.py"}
