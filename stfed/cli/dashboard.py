"""`stfed dashboard`: runs in a browser, while they go on and afterwards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds `dashboard`."""
    parser = commands.add_parser(
        "dashboard",
        help="watch runs in a browser",
        description="Shows the runs in a folder, those that go on too: curves, phases, drops, privacy spent, sealed models, audit entries. "
        "Listens on this machine only; the address that it prints has a secret part, and whoever has it can look. Ctrl+C stops it.",
        reads="the event logs in FOLDER and what they name: sealed models, audit logs",
        writes="nothing",
        never="listens to other machines, loads anything from elsewhere, or opens a sealed model",
        examples=(
            ("stfed dashboard runs", "print the address"),
            ("stfed dashboard runs --port 8050 --open", "on this port, and open it in the browser"),
        ),
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), metavar="FOLDER", help="that holds the runs (default: runs)")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="on the loopback address (default: one that is free)")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.set_defaults(handler=_dashboard)


def _dashboard(arguments: argparse.Namespace) -> int:
    from stfed.report.dashboard.app import serve

    def ready(address: str) -> None:
        print(address, flush=True)
        if arguments.open:
            import webbrowser

            webbrowser.open(address)

    serve(arguments.folder, arguments.port, ready)
    print("dashboard stopped", file=sys.stderr)
    return 0
