"""`stfed init`: adds secure aggregation to a Flower app, and shows first what that changes."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note
from stfed.cli.options import add_json, print_json
from stfed.cli.style import painted

if TYPE_CHECKING:
    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds `init`."""
    parser = commands.add_parser(
        "init",
        help="add secure aggregation to a Flower app",
        description="Prints the lines of a Flower app that change: a mod in its ClientApp, SecureAggregation around its strategy, and one "
        "dependency. With --write they are changed. The train function, the model and everything else stay as they are.",
        reads="the app's pyproject.toml and the modules of its ClientApp and ServerApp, which it does not run",
        writes="nothing; with --write those three files, each complete or not at all",
        never="changes what it does not understand: that is left to you, with the lines to write",
        examples=(
            ("stfed init my-app", "what would change, as a diff"),
            ("stfed init my-app --write", "change it"),
            ("stfed init my-app --json", "the files and their diffs, for a script"),
        ),
    )
    parser.add_argument("app", type=Path, nargs="?", default=Path(), metavar="FOLDER", help="of the Flower app (default: this one)")
    parser.add_argument("--write", action="store_true", help="change the files; without it they are only shown")
    add_json(parser)
    parser.set_defaults(handler=_init)


def _init(arguments: argparse.Namespace) -> int:
    from stfed.cli.adopting import changes
    from stfed.files import replacing

    found = changes(arguments.app)
    diffs = {str(change.path): change.diff(arguments.app) for change in found}
    if arguments.json:
        files = [{"file": path, "diff": diff} for path, diff in diffs.items()]
        print_json({"app": str(arguments.app), "written": bool(found) and arguments.write, "files": files})
    else:
        print("".join(_coloured(diff) for diff in diffs.values()), end="")
    if not found:
        note(f"the app in {arguments.app} has it already")
        return 0
    if not arguments.write:
        note(f"nothing was changed: add --write, or pipe this into `patch -p1 -d {shlex.quote(str(arguments.app))}`")
        return 0
    for change in found:
        mode = change.path.stat().st_mode
        with replacing(change.path) as file:
            file.write_at(0, change.after.encode())
        change.path.chmod(mode)
    note(f"changed {', '.join(str(change.path) for change in found)}")
    note(
        "a sum needs three parties or more. In this environment, and not in one that Flower makes from a package index: "
        f"FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 flwr run {shlex.quote(str(arguments.app))} --stream "
        '--federation-config "num-supernodes=5"'
    )
    return 0


def _coloured(text: str) -> str:
    styles = {"+": "added", "-": "removed", "@": "place"}
    return "".join(f"{painted(line, styles[line[0]], sys.stdout) if line[0] in styles else line}\n" for line in text.splitlines())
