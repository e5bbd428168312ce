"""What a person at a terminal sees of work that takes over a second: a bar where something is counted, else that it goes on.

On stderr, gone when the work is done, and silence everywhere but on a terminal. Nobody needs a bar for what is done before they have read
it, hence the second.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.style import console

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

_QUIET_S = 1.0


@contextmanager
def progress(path: Path, verb: str, *, timed: bool = False) -> Iterator[Callable[[int], object] | None]:
    """Something to report finished bytes of a file to, from any thread; None where nobody looks.

    Args:
        path: the file.
        verb: what is done with it, like "sealing".
        timed: show the bar after a second even if nothing was reported yet: where the person is asked for nothing meanwhile.
    """
    if not _seen():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    with _bar(verb, BarColumn(), DownloadColumn(), TransferSpeedColumn(), timed=timed) as (bar, show):
        task = bar.add_task(verb, total=path.stat().st_size if path.is_file() else None)

        def advance(size_bytes: int) -> None:
            bar.update(task, advance=size_bytes)
            show()

        yield advance


@contextmanager
def counting(verb: str) -> Iterator[Callable[[int, int], None] | None]:
    """Something to report to how many of how many items are done; None where nobody looks."""
    if not _seen():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    with _bar(verb, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as (bar, show):
        task = bar.add_task(verb, total=None)

        def reached(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            show()

        yield reached


@contextmanager
def working(verb: str, *, at_once: bool = False) -> Iterator[None]:
    """Shows what is done and for how long already, where nothing can be counted.

    Args:
        verb: what is done, like "making the keys".
        at_once: show it from the beginning on: for work that lets no other thread run, so that nothing could be shown after a second.
    """
    if not _seen():
        yield
        return
    from rich.progress import SpinnerColumn, TimeElapsedColumn

    with _bar(verb, SpinnerColumn("line"), TimeElapsedColumn(), timed=not at_once) as (bar, _):
        bar.add_task(verb, total=None)
        if at_once:
            bar.start()
        yield


@contextmanager
def _bar(verb: str, *columns: ProgressColumn, timed: bool = False) -> Iterator[tuple[Progress, Callable[[], None]]]:
    """A bar that is not drawn yet, and what draws it once a second is over; if timed, it is drawn then without being asked."""
    from rich.progress import Progress, TextColumn

    bar = Progress(TextColumn(verb), *columns, console=console(stderr=True), transient=True, redirect_stdout=False)
    began, lock, over = time.monotonic(), threading.Lock(), False

    def show() -> None:
        with lock:
            if not over and not bar.live.is_started and time.monotonic() - began >= _QUIET_S:
                bar.start()

    later = threading.Timer(_QUIET_S, show)
    later.daemon = True
    if timed:
        later.start()
    try:
        yield bar, show
    finally:
        later.cancel()
        with lock:
            over = True
        bar.stop()


def _seen() -> bool:
    """A dumb terminal cannot take back what it shows."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
