"""docs/cli.md names every command and every option, and its blocks run; and the story that the README tells."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stfed import cli
from tests.cli.commands import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def section(parser: argparse.ArgumentParser) -> str:
    """The part of the page that is about a command: those options that mean the same everywhere, and the section that shows its name."""
    shared, *sections = re.split(r"^## ", PAGE[PAGE.index("## What options mean") :], flags=re.MULTILINE)[1:]
    words = parser.prog.split()
    place = f"`stfed {words[1]}" if len(words) > 1 else ""
    return shared + "".join(text for text in sections if place in text)


def test_every_command_and_option_is_on_the_page() -> None:
    found = list(parsers(cli._parser()))
    assert len(found) > 25
    for parser in found:
        *_, name = parser.prog.split()
        text = section(parser)
        assert re.search(rf"`(stfed )?([a-z]+ )?{name}[ `]", text), parser.prog
        for option in (option for action in parser._actions for option in action.option_strings if option.startswith("--")):
            assert option in ("--help", "--version") or f"`{option}" in text or f" {option}" in text, f"{parser.prog} {option}"


def test_every_option_on_the_page_exists() -> None:
    known = {option for parser in parsers(cli._parser()) for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known


def test_the_codes_on_the_page_are_the_codes() -> None:
    codes = set(re.findall(r"^\| ([\d, ]+) \|", PAGE, flags=re.MULTILINE))
    assert codes == {str(code) for code in (cli.OK, cli.FAILED, cli.USAGE, cli.NO_KEY, cli.UNBELIEVED, cli.FORBIDDEN)} | {
        f"{cli.INTERRUPTED}, {cli.BROKEN_PIPE}"
    }


def test_every_option_has_help() -> None:
    for parser in parsers(cli._parser()):
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), f"{parser.prog} {action.dest}"


@pytest.mark.e2e
def test_the_blocks_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 6
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = "\n".join(blocks)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (tmp_path / "carol.safetensors").exists()
    assert not (tmp_path / "sold.safetensors").exists()
