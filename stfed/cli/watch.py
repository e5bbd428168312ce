"""`stfed watch`: a run that somebody else started, while it goes on or afterwards, from its event log alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.cli import Commands

_RUNS = Path("runs")


def register(commands: Commands) -> None:
    """Adds `watch`."""
    parser = commands.add_parser(
        "watch",
        help="watch a run in the terminal",
        description="Shows a run while it goes on: which step it is in and how many parties have answered, the last rounds, curves, drops, "
        "bytes, and privacy spent. Of a run that is over, how it went. On a terminal the view redraws itself; into a pipe go lines, one "
        "for each sum. Ctrl+C leaves, and the run goes on.",
        reads="the run's event log, and nothing else",
        never="writes, or sends, anything",
        examples=[
            ("stfed watch", "the newest run in runs"),
            ("stfed watch runs/quickstart-20270131-120000", "this one"),
            ("stfed watch /srv/fl/events.jsonl --lines", "in lines"),
        ],
    )
    parser.add_argument(
        "run", type=Path, nargs="?", metavar="RUN", help="folder of the run, or its event log (default: the newest run in runs)"
    )
    parser.add_argument("--lines", action="store_true", help="print a line for each sum in place of the view that redraws")
    parser.set_defaults(handler=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from stfed.cli import style
    from stfed.cli.live import print_last, redraws, show
    from stfed.errors import MalformedError, StfedError
    from stfed.report.dashboard.watching import Watched

    log = _newest(_RUNS) if arguments.run is None else _log(arguments.run)
    title, live = log.parent.resolve().name, redraws() and not arguments.lines
    console = style.console(width=None if live else 160, soft_wrap=True)
    watched = Watched(title, log)
    known = watched.look()
    if watched.broken and log.exists():
        raise MalformedError(watched.broken)
    if live and known.end is not None:
        print_last(known, console, title)
    else:
        known = show(log, console, title, over=lambda: False, live=live)
    if known.end is not None and known.end["failure"]:
        raise StfedError(f"the run did not get to its end: {known.end['failure']}")
    return 0


def _log(run: Path) -> Path:
    """The event log of a run; a file that is not there yet may be waited for if its folder is."""
    from stfed.report.eventlog import NAME, find

    if run.is_dir() and not (run / NAME).exists() and (run / "run.toml").exists():
        return run / NAME  # `stfed run` has made it, and Flower is starting
    return find(run)


def _newest(folder: Path) -> Path:
    """The newest run that can be read; that others cannot is said."""
    from stfed.cli.messages import note
    from stfed.errors import LocalError, MalformedError
    from stfed.report.dashboard.watching import Runs

    found = Runs(folder).look()
    if not found:
        raise LocalError(f"there is no run in {folder.resolve()}", hint="name the folder of a run, or its event log: stfed watch RUN")
    sound = [one for one in found if not one.broken]
    broken = [one.broken for one in found if one.broken]
    if not sound:
        raise MalformedError(f"no run in {folder.resolve()} can be read: {broken[0]}")
    if broken:
        note(f"passed over {len(broken)} of {len(found)} runs, whose event logs cannot be read: {broken[0]}")
    return sound[0].log
