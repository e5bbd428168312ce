"""Threads that share out pieces of work. What they call (AES, NumPy) lets go of the interpreter's lock meanwhile."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(pieces: Iterable[Piece], threads: int, worker: Callable[[], Callable[[Piece], Result]]) -> list[Result]:
    """What the pieces give, in no particular order. The calling thread works too; with one thread no other is started.

    Args:
        pieces: each is done once, by whichever thread is free.
        threads: at least 1.
        worker: called once in each thread, to make the function that does a piece there with memory of its own.

    Raises:
        Exception: the first error of a thread. The pieces that were not begun by then are left.
    """
    if threads == 1:
        return list(map(worker(), pieces))
    waiting = deque(pieces)
    failures: list[BaseException] = []

    def run() -> list[Result]:
        done: list[Result] = []
        try:
            work = worker() if waiting else None
            while work is not None:
                try:
                    piece = waiting.popleft()
                except IndexError:  # another thread took the last one
                    break
                done.append(work(piece))
        except BaseException as error:
            waiting.clear()
            failures.append(error)
        return done

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(run) for _ in range(threads - 1)]
        results = run()
    if failures:
        raise failures[0]
    return results + [result for other in others for result in other.result()]
