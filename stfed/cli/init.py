"""`stfed init`: adds secure aggregation to a Flower app, and shows first what that changes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note

if TYPE_CHECKING:
    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds `init`."""
    parser = commands.add_parser(
        "init",
        help="add secure aggregation to a Flower app",
        description="Prints the lines of a Flower app that change: a mod in its ClientApp, SecureAggregation around its strategy, and one "
        "dependency. With --write they are changed. The train function, the model and everything else stay as they are.",
        epilog="example: stfed init my-app; stfed init my-app --write",
        allow_abbrev=False,
    )
    parser.add_argument("app", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="of the Flower app (default: this one)")
    parser.add_argument("--write", action="store_true", help="change the files; without it they are only shown")
    parser.set_defaults(handler=_init)


def _init(arguments: argparse.Namespace) -> int:
    from stfed.cli.adopting import changes
    from stfed.files import replacing

    found = changes(arguments.app)
    if not found:
        note(f"the app in {arguments.app} has it already")
        return 0
    text = "".join(change.diff(arguments.app) for change in found)
    print(_coloured(text) if sys.stdout.isatty() else text, end="")
    if not arguments.write:
        note("nothing was changed: add --write, or pipe this into `patch -p1`")
        return 0
    for change in found:
        mode = change.path.stat().st_mode
        with replacing(change.path) as file:
            file.write_at(0, change.after.encode())
        change.path.chmod(mode)
    note(f"changed {', '.join(str(change.path) for change in found)}; run it as before: flwr run {arguments.app}")
    return 0


def _coloured(text: str) -> str:
    colours = {"+": "32", "-": "31", "@": "36"}
    return "".join(f"\x1b[{colours[line[0]]}m{line}\x1b[0m" if line[0] in colours else line for line in text.splitlines(True))
