"""`stfed help COMMAND...`: what `stfed COMMAND... --help` prints."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds `help`."""
    parser = commands.add_parser(
        "help",
        help="show the help of a command",
        description="Prints what a command does, its arguments and examples: the same as --help behind it. Without a command, all of them.",
        never="runs the command",
        examples=[("stfed help seal", "of a command"), ("stfed help audit prove", "of a command of a group")],
    )
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="a command, and one of its own commands")
    parser.set_defaults(handler=_help)


def _help(arguments: argparse.Namespace) -> int:
    from stfed.cli import make_parser
    from stfed.cli.parser import commands_of

    parser = make_parser()
    for word in arguments.words:
        known = commands_of(parser)
        if word not in known:
            parser.wrong_command(word, known)
        parser = known[word]
    parser.print_help()
    return 0
