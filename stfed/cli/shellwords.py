"""What can be typed where, read off the parsers: the one source of the completion scripts for all shells.

What a value is follows from its parser: the choices of a choice, files where a `Path` or a `KEY.pub` is expected, folders where the
metavar says FOLDER, and nothing for free text. An option that has to do with a secret never completes its value.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stfed.cli.parser import Parser

FILES, FOLDERS, NOTHING = "files", "folders", "nothing"
HELP = "help"

_SECRET = re.compile(r"passphrase|password|secret|token")


@dataclass(frozen=True, slots=True)
class Value:
    """What completes a value.

    Attributes:
        kind: "files", "folders" or "nothing"; with words, "nothing" else.
        words: the choices.
        name: what it is, as the help has it.
    """

    kind: str
    words: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command.

    Attributes:
        name: with its dashes.
        text: its help, one line.
        value: what follows it; None if nothing does.
        repeats: whether it may be given again.
    """

    name: str
    text: str
    value: Value | None
    repeats: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what can follow it.

    Attributes:
        words: its name from behind `stfed` on; none for `stfed` itself.
        text: its help, one line.
        commands: its own commands.
        options: its options.
        arguments: its positional arguments, in order.
        endless: whether the last of these may be repeated.
    """

    words: tuple[str, ...]
    text: str
    commands: tuple[Command, ...]
    options: tuple[Option, ...]
    arguments: tuple[Value, ...]
    endless: bool

    def all(self) -> Iterator[Command]:
        """It, and the commands below it."""
        yield self
        for command in self.commands:
            yield from command.all()


def read(parser: Parser) -> Command:
    """The tree of a parser's commands."""
    root = _command(parser, (), "")
    commands = tuple(_helped(one, root) if one.words == (HELP,) else one for one in root.commands)
    return replace(root, commands=commands)


def _helped(command: Command, root: Command) -> Command:
    """`help`, behind which all commands can be named, and nothing else."""
    below = tuple(replace(_helped(one, one), words=(HELP, *one.words)) for one in root.commands)
    return replace(command, commands=below, options=(), arguments=(), endless=False)


def _command(parser: Parser, words: tuple[str, ...], text: str) -> Command:
    below: list[Command] = []
    options: list[Option] = []
    arguments: list[argparse.Action] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below += [_command(one, (*words, name), helps[name]) for name, one in action.choices.items()]
        elif action.option_strings:
            name = next(one for one in reversed(action.option_strings) if one.startswith("--"))
            value = None if action.nargs == 0 else _value(action)
            options.append(Option(name, _line(parser, action), value, isinstance(action, argparse._AppendAction)))
        else:
            arguments.append(action)
    endless = bool(arguments) and arguments[-1].nargs in ("*", "+")
    return Command(words, text, tuple(below), tuple(options), tuple(_value(action) for action in arguments), endless)


def _value(action: argparse.Action) -> Value:
    name = str(action.metavar or action.dest)
    if any(_SECRET.search(option) for option in action.option_strings):
        return Value(NOTHING, (), name)
    if action.choices is not None:
        return Value(NOTHING, tuple(map(str, action.choices)), name)
    if name == "FOLDER":
        return Value(FOLDERS, (), name)
    return Value(FILES if action.type is Path or name == "KEY.pub" else NOTHING, (), name)


def _line(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return re.split(r"[;:] | \(|\. ", " ".join(text.split()))[0]
