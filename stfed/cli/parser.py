"""The parser of every command: argparse with this command line's help, and wrong usage told with the nearest thing that exists.

`commands.add_parser(...)` takes what `Page` has beside argparse's own arguments:

    parser = commands.add_parser(
        "verify",
        help="prove who sealed a file, without a key to it",
        description="Holds every byte of a signed file against its signature ...",
        reads="SEALED and the public keys of --trusted",
        never="decrypts anything",
        examples=[("stfed verify sealed.safetensors --trusted alice.key.pub", "was it Alice?")],
    )
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from stfed.cli.codes import USAGE
from stfed.cli.manual import Manual, Page, Rows
from stfed.cli.messages import failure
from stfed.cli.style import painted

_ASKED = "--passphrase"
_NO_VALUE = f"{_ASKED} takes no value: every process could read it, so it is asked for, or read from --passphrase-file or STFED_PASSPHRASE"


class Parser(argparse.ArgumentParser):
    """Help and errors in this command line's manner. Subparsers are of the same class.

    Args:
        reads: see `Page`, as all that follows.
        writes: likewise.
        never: likewise.
        examples: likewise.
        sections: likewise.
        options: of argparse.
    """

    section = "commands"
    """Of the list that this command is in."""

    def __init__(
        self,
        *,
        reads: str = "",
        writes: str = "",
        never: str = "",
        examples: Rows = (),
        sections: Sequence[tuple[str, Rows]] = (),
        **options: Any,
    ) -> None:
        given: dict[str, Any] = {"allow_abbrev": False, "formatter_class": Manual, "add_help": False}
        super().__init__(**given | options)
        self.manual: Page = Page(reads, writes, never, tuple(examples), tuple(sections))
        self.add_argument("-h", "--help", action="help", help="show this")
        self._given: list[str] = []

    def format_usage(self) -> str:
        """`usage: ...`, without colours."""
        return Manual(self.prog).usage(self) + "\n"

    def format_help(self, width: int | None = None) -> str:
        """The help as plain text, as wide as the terminal or as asked."""
        return Manual(self.prog, width).page(self, self.manual)

    def print_help(self, file: Any = None) -> None:
        """Prints the help, on a terminal with colours."""
        out = sys.stdout if file is None else file
        out.write(Manual(self.prog, paint=lambda text, style: painted(text, style, out)).page(self, self.manual))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As in argparse, but nothing is left over: what is not known is wrong usage, and told by the command that it was given to."""
        self._given = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(self._given, namespace)
        if rest:
            secret = _ASKED in self._given  # what is left over may be a passphrase then
            self.error(_NO_VALUE if secret else f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuses what is none of the choices, with the nearest one."""
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            self.wrong_command(str(value), choices)
        name = "/".join(action.option_strings) or action.metavar or action.dest
        self._refuse(f"{name} {value}: choose {_listed(choices)}", nearest(str(value), choices))

    def wrong_command(self, word: str, commands: Iterable[str]) -> NoReturn:
        """Ends with an error: there is no such command."""
        near = nearest(word, commands)
        self._refuse(f"there is no command {word!r}", f"{self.prog} {near}" if near else None)

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2. A mistyped option is named first, because what argparse finds missing is often what it stands for."""
        if "ignored explicit argument" in message:  # argparse would repeat it
            message = message.partition(": ignored")[0].removeprefix("argument ").split("/")[-1] + " takes no value"
            message = _NO_VALUE if message.startswith(f"{_ASKED} ") else message
        known = self._option_string_actions
        has_commands = any(isinstance(action, argparse._SubParsersAction) for action in self._actions)
        for word in self._given:
            if word == "--" or (has_commands and not word.startswith("-")):
                break
            option = word.partition("=")[0]
            if option.startswith("--") and option not in known:
                self._refuse(f"there is no option {option}", nearest(option, [one for one in known if one.startswith("--")]))
        self._refuse(message, None)

    def _refuse(self, message: str, near: str | None) -> NoReturn:
        failure(message, f"did you mean {near}? see also {self.prog} --help" if near else f"see {self.prog} --help")
        raise SystemExit(USAGE)


def commands_of(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """The parsers of its commands, by name."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What was probably meant, if anything is near."""
    return next(iter(difflib.get_close_matches(word, list(known), 1, 0.6)), None)


def _listed(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
