"""Shows a run while it goes on: in a view that redraws on a terminal, in lines everywhere else; and its last picture when it is over."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.lines import Json, Lines
from stfed.errors import MalformedError
from stfed.report import eventlog
from stfed.report.eventlog import Event
from stfed.report.run import Run

if TYPE_CHECKING:
    from rich.console import Console


_LOOK_S = 0.25
_MOST_OF_THE_TIME = 4
"""However large a run is, drawing it takes at most a fifth of the time."""
_LAST_HEIGHT = 40


def redraws() -> bool:
    """Whether standard output is a terminal that can be drawn on, and nobody has said that it is not to be."""
    said = any(os.environ.get(name) for name in ("NO_COLOR", "CI"))
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown") and not said and _has_blocks()


def _has_blocks() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def show(
    log: Path,
    console: Console,
    title: str,
    *,
    over: Callable[[], bool],
    live: bool,
    as_json: bool = False,
    run: str | None = None,
    footer: str = "Ctrl+C leaves",
) -> Run:
    """Shows what a log says until its run ends.

    Args:
        log: the event log; it may not be there yet.
        console: where it is shown.
        title: what the run is called.
        over: whether nothing more will come even if the run has not said that it ended.
        live: the view that redraws; lines if not.
        as_json: the events as they are, in place of lines.
        run: Flower's id of the run that is meant; what the log has of others is passed over. None: the last one in the log.
        footer: what the view says at its bottom.

    Returns:
        All that is known of the run in the end.

    Raises:
        MalformedError: the log has a line that is no event.
    """
    if live:
        return _redraw(log, console, title, over, run, footer)
    lines, known = (Json if as_json else Lines)(console), Run()
    for events in _looks(log, over):
        for event in events[_last_start(events, run) :]:
            known.take(event)
            if _is(known, run):
                lines.event(event)
                if known.end is not None and run is not None:
                    return known
        if known.end is not None and run is None:
            return known
    return known if _is(known, run) else Run()


def _is(known: Run, run: str | None) -> bool:
    return run is None or (known.start is not None and known.start["run"] == run)


def _last_start(events: list[Event], run: str | None) -> int:
    """Where the last run begins, or the one that is meant; 0 if none does here: the events go on with one that began before."""
    begins = [at for at, event in enumerate(events) if event["event"] == "start" and run in (None, event["run"])]
    return begins[-1] if begins else 0


def _looks(log: Path, over: Callable[[], bool]) -> Iterator[list[Event]]:
    """The events of all runs in the log that are new at each look."""
    offset = 0
    while True:
        last = over()
        if log.exists():
            new = eventlog.lines(log, offset)
            yield list(new)
            offset = new.offset
        if last:
            return
        time.sleep(_LOOK_S)


def _redraw(log: Path, console: Console, title: str, over: Callable[[], bool], run_id: str | None, footer: str) -> Run:
    from rich.console import Group
    from rich.live import Live

    from stfed.cli.liveview import Frame, view
    from stfed.report.dashboard.watching import Watched

    watched, run = Watched(title, log), Run()
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            began, last = time.monotonic(), over()
            if log.exists():
                known = watched.look()
                run = known if _is(known, run_id) else Run()
            if watched.broken:
                raise MalformedError(watched.broken)
            size = console.size
            live.update(Group(*view(run, time.time(), Frame(title, size.width, size.height, footer))), refresh=True)
            if last or run.end is not None:
                break
            time.sleep(max(_LOOK_S, _MOST_OF_THE_TIME * (time.monotonic() - began)))
    print_last(run, console, title)
    return run


def print_last(run: Run, console: Console, title: str) -> None:
    """The picture of a run as it is, to stay in the terminal."""
    from stfed.cli.liveview import Frame, view

    for line in view(run, time.time(), Frame(title, console.width, _LAST_HEIGHT)):
        console.print(line, no_wrap=True, overflow="crop", soft_wrap=False)
