"""Threads over segments, and the memory they work in. `cryptography` and the operating system release the interpreter's lock meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

Task = TypeVar("Task")

_MAX_THREADS = 4
_AHEAD = 4
_SERIAL_SEGMENTS = 4
"""Below this many segments, starting threads costs more than they save."""


def buffer(size_bytes: int) -> memoryview:
    """Memory that nobody zeroes first: filling pages twice costs more than AES does."""
    return np.empty(size_bytes, dtype=np.uint8).data


def wipe(view: memoryview) -> None:
    """Overwrites memory with zeros."""
    np.frombuffer(view, dtype=np.uint8).fill(0)


def thread_count(segments: int) -> int:
    """How many threads are worth starting: the cores this process may use, at most 4, and one for a few segments."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if segments < _SERIAL_SEGMENTS else min(_MAX_THREADS, cores)


def pipe(
    tasks: Iterator[Task], make: Callable[[Task, memoryview], memoryview], put: Callable[[Task, memoryview], None], size_bytes: int
) -> None:
    """For every task calls `make` in a thread of its own, and `put` with what it gave here, in order and a few tasks behind.

    For work that ends in writes to one file: the system takes those one at a time, so threads that encrypt and write by turns wait for
    each other, while one that only encrypts beside one that only writes do not.

    Args:
        tasks: drawn in the other thread.
        make: fills memory of `size_bytes` and returns the filled part.
        put: takes it; the memory is used again afterwards.
        size_bytes: of the memory for a task; four tasks have some at a time.
    """
    free: SimpleQueue[memoryview | None] = SimpleQueue()
    done: SimpleQueue[tuple[Task, memoryview, memoryview] | BaseException | None] = SimpleQueue()
    for _ in range(_AHEAD):
        free.put(buffer(size_bytes))

    def run() -> None:
        try:
            for task in tasks:
                room = free.get()
                if room is None:
                    return
                done.put((task, room, make(task, room)))
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    maker = threading.Thread(target=run, name="stfed-sealed")
    maker.start()
    try:
        while (item := done.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            task, room, made = item
            put(task, made)
            free.put(room)
    finally:
        free.put(None)  # it may be waiting for memory that will not come back
        maker.join()


def each(tasks: Iterator[Task], worker: Callable[[], Callable[[Task], None]], threads: int) -> None:
    """Calls `worker()` once a thread and what it returns for every task; the first error stops all and is raised.

    Tasks are drawn under a lock, so that a generator may have effects of its own (drawing ivs) in a fixed order.
    """
    lock = threading.Lock()
    stop = threading.Event()

    def run() -> None:
        work = worker()
        while not stop.is_set():
            with lock:
                task = next(tasks, None)
            if task is None:
                return
            try:
                work(task)
            except BaseException:
                stop.set()
                raise

    if threads == 1:
        run()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="stfed-sealed") as pool:
        futures = [pool.submit(run) for _ in range(threads)]
        try:
            for future in futures:
                future.result()
        finally:
            stop.set()  # an interrupt here must not wait for the whole file
