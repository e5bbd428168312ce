"""docs/cli.md says what the parsers say, and its blocks run."""

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
from stfed.cli.codes import MEANINGS
from stfed.cli.parser import Parser, commands_of
from tests.cli import page
from tests.cli.commands import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()


def parsers(parser: Parser) -> Iterator[Parser]:
    """A parser and those of its commands."""
    yield parser
    for command in commands_of(parser).values():
        yield from parsers(command)


def test_the_page_says_what_the_parsers_say() -> None:
    """Once for each command; `python -m tests.cli.page` writes these parts anew."""
    assert sorted(page.named(PAGE)) == sorted(commands_of(cli.make_parser()))
    assert page.made(PAGE) == PAGE


def test_the_page_has_every_option_of_every_command() -> None:
    """Asked of the page itself, whatever made it."""
    sections = dict(re.findall(r"^###+ (stfed [a-z ]+)\n(.*?)(?=^#|^<!-- end)", PAGE, re.MULTILINE | re.DOTALL))
    found = list(parsers(cli.make_parser()))[1:]
    assert len(found) > 35
    for parser in found:
        text = sections[parser.prog]
        for option in (option for action in parser._actions for option in action.option_strings if option.startswith("--")):
            assert option == "--help" or f"| `{option}" in text, f"{parser.prog} {option}"


def test_every_option_in_the_prose_exists() -> None:
    prose = re.sub(r"<!-- commands.*?<!-- end -->", "", PAGE, flags=re.DOTALL)
    known = {option for parser in parsers(cli.make_parser()) for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z-]+", prose)) <= known


def test_the_variables_on_the_page_are_those_of_the_help() -> None:
    table = PAGE[PAGE.index("## Environment") : PAGE.index("## What options mean")]
    (rows,) = (rows for title, rows in cli.make_parser().manual.sections if title == "environment")
    named = re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    assert named == ", ".join(name for name, _ in rows).split(", ")


def test_the_codes_on_the_page_are_the_codes() -> None:
    codes = set(re.findall(r"^\| ([\d, ]+) \|", PAGE[: PAGE.index("## Environment")], flags=re.MULTILINE))
    assert codes == {code for code, _ in MEANINGS}


def test_every_option_has_help() -> None:
    for parser in parsers(cli.make_parser()):
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
