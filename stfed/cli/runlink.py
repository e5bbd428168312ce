"""`stfed run --superlink NAME`: hands an app to a SuperLink that runs somewhere, and shows what can be seen of it from here."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.cli.livefacts import plain
from stfed.errors import StfedError

if TYPE_CHECKING:
    from rich.console import Console

    from stfed.flower.superlink import SuperLinkRun

_LOOK_S = 0.25


def run_on_superlink(arguments: argparse.Namespace, values: Mapping[str, Any], console: Console) -> None:
    """Runs the app there, until it is over. Whoever stops this leaves the run going on.

    Args:
        arguments: of `stfed run`.
        values: the run file's.
        console: where it is shown.

    Raises:
        StfedError: the run did not get to its end; LocalError: it did not begin.
    """
    from stfed.flower.superlink import SuperLinkRun

    name, events = arguments.superlink, arguments.events
    note(f"building the app and asking the SuperLink {name!r} takes some seconds")
    with SuperLinkRun(arguments.app, name, values) as run:
        note(f"run {run.run_id} of {arguments.config.name} is on the SuperLink {name!r}; its log: flwr log {run.run_id} {name}")
        try:
            if events is None:
                note(f"the event log is on the SuperLink's machine{_place(values)}: `stfed watch` shows it there, or here with --events")
                _stream(run, console)
            else:
                _follow(run, arguments, console)
        except KeyboardInterrupt:
            note(f"run {run.run_id} goes on; to end it: flwr stop {run.run_id} {name}")
            raise
        run.check()


def _place(values: Mapping[str, Any]) -> str:
    """Where the run file says that the app writes it, by the names that the apps here use."""
    from stfed.report.eventlog import NAME

    if values.get("events"):
        return f", {values['events']}"
    return f", {values['run-dir']}/{NAME}" if values.get("run-dir") else ", where the app has SecureAggregation(events=...) write it"


def _stream(run: SuperLinkRun, console: Console) -> None:
    """Flower's log of the run, as it comes."""
    offset = 0
    while True:
        last = run.finished()
        lines, offset = run.new_lines(offset, last=last)
        for line in lines:
            console.print(plain(line), markup=False, highlight=False)
        if last:
            return
        time.sleep(_LOOK_S)


def _follow(run: SuperLinkRun, arguments: argparse.Namespace, console: Console) -> None:
    """The run's events, out of a log that may have other runs in it too."""
    from stfed.cli.live import redraws, show

    events: Path = arguments.events
    live = redraws() and not (arguments.json or arguments.lines)
    footer = f"run {run.run_id} on {arguments.superlink}   Ctrl+C leaves, and the run goes on"
    title = arguments.config.name
    known = show(events, console, title, over=run.finished, live=live, as_json=arguments.json, run=run.run_id, footer=footer)
    if known.start is None:
        note(f"{events} has nothing of run {run.run_id}: is it the log that its SecureAggregation writes?")
    elif known.end is not None and known.end["failure"]:
        raise StfedError(f"the run did not get to its end: {known.end['failure']}", hint=f"flwr log {run.run_id} {run.name}")
    _wait(run)


def _wait(run: SuperLinkRun) -> None:
    """Flower ends a run some moments after its strategy did."""
    while not run.finished():
        time.sleep(_LOOK_S)
