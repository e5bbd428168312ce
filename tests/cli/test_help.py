"""`--help` of every command: complete, of one form, with examples that are right, and quick."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys

import pytest

from stfed import cli
from stfed.cli.manual import Manual, shown
from stfed.cli.parser import Parser, commands_of
from tests.cli.commands import ROOT, done
from tests.cli.test_docs import parsers

ALL = list(parsers(cli.make_parser()))
LEAVES = [
    parser for parser in ALL if not any(action.required for action in parser._actions if isinstance(action, argparse._SubParsersAction))
]

HEAVY = (
    "cryptography",
    "flwr",
    "httpx",
    "numpy",
    "rich",
    "safetensors",
    "sqlite3",
    "starlette",
    "tenseal",
    "torch",
    "uvicorn",
    "zstandard",
)
CODE = f"""
import sys
from stfed.cli import main
for command in sys.stdin.read().splitlines():
    assert main([*command.split()[1:], "--help"]) == 0, command
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    commands = "\n".join(parser.prog for parser in parsers(cli.make_parser()))
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, input=commands, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: stfed audit cosign" in done.stdout


@pytest.mark.parametrize("parser", ALL, ids=lambda parser: parser.prog)
def test_a_command_says_what_it_does_in_sentences_and_shows_how(parser: Parser) -> None:
    description = parser.description or ""
    assert re.fullmatch(r"[A-Z].*\.", description, re.DOTALL), description
    assert parser.manual.examples
    assert all((what and not what[0].isupper()) or what.split()[0] in NAMES for _, what in parser.manual.examples)


NAMES = {"Alice", "Bob", "Carol"}


@pytest.mark.parametrize("parser", LEAVES, ids=lambda parser: parser.prog)
def test_a_command_says_what_it_never_does(parser: Parser) -> None:
    assert parser.manual.never
    assert parser.manual.reads or parser.manual.writes or parser.prog in ("stfed help", "stfed completion")


@pytest.mark.parametrize("parser", ALL, ids=lambda parser: parser.prog)
def test_every_example_parses_as_this_command(parser: Parser) -> None:
    for example, _ in parser.manual.examples:
        words = shlex.split(example)
        command = next((words[:place] for place, word in enumerate(words) if word in (">", "|", "&&")), words)
        asked = parser.prog.split()
        assert command[: len(asked)] == asked, example
        try:
            parsed = cli.make_parser().parse_args(command[1:])
        except SystemExit:
            pytest.fail(example)
        assert callable(parsed.handler)


@pytest.mark.parametrize("parser", ALL, ids=lambda parser: parser.prog)
def test_many_options_are_in_groups(parser: Parser) -> None:
    for group in parser._action_groups:
        options = [action for action in shown(group) if not isinstance(action, argparse._HelpAction)]
        assert len(options) <= 8, group.title
        assert not options or (group.title and group.title[0].islower() and not group.title.endswith(":"))


def test_every_value_says_what_it_is() -> None:
    """A metavar of its own, or the choices: argparse's own is the option's name once more."""
    for parser in ALL:
        for action in parser._actions:
            if action.nargs != 0 and not isinstance(action, argparse._SubParsersAction):
                assert action.metavar or action.choices, f"{parser.prog} {action.dest}"


def test_one_formatter_for_all() -> None:
    assert all(type(parser) is Parser and parser.formatter_class is Manual and not parser.allow_abbrev for parser in ALL)


def test_every_command_is_in_a_section() -> None:
    page = cli.make_parser().format_help(100)
    for name in commands_of(cli.make_parser()):
        assert re.search(rf"^  {name}  +\S", page, re.MULTILINE), name
    headings = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [*(f"{name}:" for name in cli.COMMANDS), "Options:", "Exit codes:", "Environment:", "More:", "Examples:"]


@pytest.mark.parametrize("width", [40, 61, 80, 120])
def test_text_wraps_to_the_terminal(width: int) -> None:
    for parser in ALL:
        page = parser.format_help(width)
        text = page[: page.index("\nExamples:")]
        long = [line for line in text.splitlines() if len(line) > width and len(line.split()) > 2]
        assert not long, parser.prog


@pytest.mark.parametrize("width", [40, 80])
def test_a_broken_example_is_the_same_command_for_a_shell(width: int) -> None:
    for parser in ALL:
        examples = parser.format_help(width).partition("\nExamples:\n")[2]
        assert all(len(line) <= width or len(line.split()) <= 3 for line in examples.splitlines()), parser.prog
        commands = [line for line in examples.replace("\\\n", "").splitlines() if line.strip() and not line.startswith("  #")]
        assert [shlex.split(line) for line in commands] == [shlex.split(command) for command, _ in parser.manual.examples], parser.prog


def test_help_is_what_the_option_prints(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["seal"], ["audit", "prove"]):
        assert done(capsys, "help", *words) == done(capsys, *words, "--help")


def test_the_terminals_width_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    narrow = done(capsys, "open", "--help")[0]
    monkeypatch.setenv("COLUMNS", "110")
    assert len(done(capsys, "open", "--help")[0].splitlines()) < len(narrow.splitlines())
