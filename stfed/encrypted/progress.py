"""How far work on many ciphertexts has come: to a callback, or to a bar on a terminal; silence everywhere else.

with showing(lambda what, done, total: print(f"{what}: {done} of {total}")):
    product = rows @ weights
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Callback: TypeAlias = Callable[[str, int, int], object]
"""Called with what is done, how many ciphertexts are, and how many there are in all: after each of them, by the thread that computes."""

_QUIET_S, _PAUSE_S = 1.0, 0.2
"""A bar comes when work has taken this long; work that begins so soon after other work is one with it."""
_callback: ContextVar[Callback | None] = ContextVar("stfed-encrypted-progress", default=None)


class _Busy(threading.local):
    """Since when this thread has been at it. A matrix product is several batches, each of which may take less than `_QUIET_S`."""

    began = ended = float("-inf")


_busy = _Busy()


@contextmanager
def showing(callback: Callback) -> Iterator[None]:
    """Reports the work of this block to `callback`, and to no terminal. An error that it raises ends the work."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


@contextmanager
def reported(what: str, total: int) -> Iterator[Callable[[], object]]:
    """Something to call whenever one more of `total` is done."""
    now = time.monotonic()
    if now - _busy.ended > _PAUSE_S:
        _busy.began = now
    callback = _callback.get()
    try:
        if callback is not None:
            yield _counted(what, total, callback)
        elif sys.stderr is not None and sys.stderr.isatty():
            with _bar(what, total) as advance:
                yield advance
        else:
            yield _silent
    finally:
        _busy.ended = time.monotonic()


def _silent() -> None:
    pass


def _counted(what: str, total: int, callback: Callback) -> Callable[[], object]:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        callback(what, done, total)

    return advance


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], object]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(f"{what} (ciphertexts)"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)

    def advance() -> None:
        bar.update(task, advance=1)
        if not bar.live.is_started and time.monotonic() - _busy.began > _QUIET_S:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
