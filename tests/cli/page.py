"""docs/cli.md, the parts that the parsers say themselves: `python -m tests.cli.page` writes them anew, between comments that name commands.

    <!-- commands: keygen fingerprint -->
    ...
    <!-- end -->

The prose around them, and the blocks that run, are written by hand.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from stfed import cli
from stfed.cli.manual import Manual, shown
from stfed.cli.parser import Parser, commands_of
from tests.cli.commands import ROOT

PATH = ROOT / "docs" / "cli.md"
_PART = re.compile(r"<!-- commands: ([a-z ]+) -->\n(.*?)<!-- end -->", re.DOTALL)
_WIDE = 10_000


def named(page: str) -> list[str]:
    """The commands that the page has a part for, in its order."""
    return [name for names, _ in _PART.findall(page) for name in names.split()]


def made(page: str) -> str:
    """The page with these parts written anew."""
    commands = commands_of(cli.make_parser())

    def part(match: re.Match[str]) -> str:
        blocks = [block for name in match[1].split() for block in _command(commands[name])]
        return f"<!-- commands: {match[1]} -->\n" + "\n\n".join(blocks) + "\n<!-- end -->"

    return _PART.sub(part, page)


def _command(parser: Parser) -> Iterator[str]:
    """A command and its own commands."""
    yield f"{'#' * (len(parser.prog.split()) + 1)} {parser.prog}"
    yield _prose(parser.description or "")
    below = commands_of(parser)
    if below:
        rows = (f"| [`{name}`](#{_anchor(one)}) | {_cell(_help(parser, name))} |" for name, one in below.items())
        yield "\n".join(["| command | |", "|---|---|", *rows])
    if not _only_groups(parser):
        yield f"```text\n{Manual(parser.prog, 80).usage(parser)}\n```"
        said = {name: getattr(parser.manual, name) for name in ("reads", "writes", "never")}
        yield "\n".join(f"- *{name}* {_cell(text)}" for name, text in said.items() if text)
        argued = list(_rows(parser))
        if argued:
            yield "\n".join(["| argument | |", "|---|---|", *argued])
    yield "```sh\n" + "\n".join(f"# {what}\n{command}" for command, what in parser.manual.examples) + "\n```"
    for one in below.values():
        yield from _command(one)


def _rows(parser: Parser) -> Iterator[str]:
    """Its arguments and options, each group under its title, and whatever tables its help has."""
    manual = Manual(parser.prog, _WIDE)
    for group in parser._action_groups:
        actions = [action for action in shown(group) if not isinstance(action, argparse._HelpAction)]
        if actions and group.title not in ("options", "positional arguments"):
            yield f"| **{group.title}** | |"
        for action in actions:
            yield f"| `{_option(manual.invocation(action))}` | {_cell(manual._explained(action))} |"
    for title, rows in parser.manual.sections:
        yield f"| **{title}** | |"
        yield from (f"| `{name}` | {_cell(text)} |" for name, text in rows)


def _only_groups(parser: Parser) -> bool:
    """Whether the command does nothing but have commands."""
    return any(isinstance(action, argparse._SubParsersAction) and action.required for action in parser._actions)


def _help(parser: Parser, name: str) -> str:
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next(one.help or "" for one in commands._choices_actions if one.dest == name)


def _anchor(parser: Parser) -> str:
    return parser.prog.replace(" ", "-")


def _option(invocation: str) -> str:
    """Alternatives without the bar, which would end the cell."""
    return invocation.replace("|", "/")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()).replace("*", "\\*").replace("<", "&lt;") for part in re.split(r"\n\s*\n", text))


if __name__ == "__main__":
    PATH.write_text(made(PATH.read_text()))
