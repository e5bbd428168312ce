"""A bar for what takes long, on a terminal; silence everywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_QUIET_S = 1.0
"""Nobody needs a progress bar for what is done before they have read it."""


@contextmanager
def progress(path: Path, verb: str) -> Iterator[Callable[[int], object] | None]:
    """Something to report finished bytes to, from any thread: a bar on stderr, if that is a terminal and the work takes over a second."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bar = Progress(TextColumn(verb), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(verb, total=path.stat().st_size if path.is_file() else None)
    began, lock = time.monotonic(), threading.Lock()

    def advance(size_bytes: int) -> None:
        bar.update(task, advance=size_bytes)
        with lock:
            if not bar.live.is_started and time.monotonic() - began > _QUIET_S:
                bar.start()

    try:
        yield advance
    finally:
        bar.stop()
