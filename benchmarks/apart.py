"""A round whose coordinator has a process of its own, so that its time and its memory are nobody else's.

The parties are in the process that calls `round_apart`; every message crosses a pipe as bytes. Linux, for the peak of the memory.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.peak import mark, peak_bytes
from benchmarks.progress import progress
from stfed.bench.crowd import Crowd, LocalCrowd
from stfed.bench.round import Result, coordinate, plan_of, policy_of, run_round
from stfed.bench.stopwatch import COORDINATOR, Spent, Stopwatch
from stfed.bench.workload import Workload
from stfed.secagg.params import Parameters, choose


@dataclass(frozen=True)
class Apart:
    """A round, and what it took of the coordinator's memory.

    Attributes:
        result: as of a round in one process; the coordinator's times are those of its own process.
        peak_bytes: the most memory that the coordinator had beyond what it needs for a round of four parties and 64 parameters.
    """

    result: Result
    peak_bytes: int


class _RemoteCrowd:
    """The crowd at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, b""

    def answer(self, step: str, node: int, request: bytes) -> bytes:
        self._ask(step, node, request)
        return self._pipe.recv_bytes()

    def train(self, node: int, request: bytes) -> tuple[bytes, bytes] | None:
        self._ask("train", node, request)
        reply = self._pipe.recv_bytes()
        return (reply, self._pipe.recv_bytes()) if reply else None

    def _ask(self, step: str, node: int, request: bytes) -> None:
        again = request is self._last  # what everybody is asked crosses once
        self._pipe.send((step, node, again))
        if not again:
            self._pipe.send_bytes(request)
            self._last = request


def serve(pipe: Connection, crowd: Crowd) -> Any:
    """Lets a crowd answer the other end, until that sends what it found."""
    request = b""
    while True:
        step, node, again = pipe.recv()
        if step == "done":
            return node
        request = request if again else pipe.recv_bytes()
        if step != "train":
            pipe.send_bytes(crowd.answer(step, node, request))
        elif (answer := crowd.train(node, request)) is None:
            pipe.send_bytes(b"")
        else:
            for part in answer:
                pipe.send_bytes(part)


def round_apart(workload: Workload, parameters: Parameters, *, threads: int = 1) -> Apart:
    """One round, with the coordinator in a process of its own."""
    times, plan = Stopwatch(), plan_of(workload)
    crowd = LocalCrowd(workload, plan, policy_of(parameters), times, threads=threads, sharing=True)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_coordinator, args=(there, workload, parameters, threads), daemon=True)
    process.start()
    there.close()
    found = serve(here, crowd)
    process.join()
    for step, spent in found["steps"]:
        times.add(COORDINATOR, step, Spent(*spent))
    error = workload.error(np.frombuffer(found["mean"], np.float32))
    sizes = threads, plan.vector_length, found["masks_removed"], found["upload_bytes"]
    return Apart(Result(workload, parameters, *sizes, times, error, found["error_bound"], crowd.encode_s), found["peak_bytes"])


def _coordinator(pipe: Connection, workload: Workload, parameters: Parameters, threads: int) -> None:
    run_round(Workload(4, 64, 0.25), choose(4, 0.0, 0.25))  # loads and sets up whatever a round needs
    before, times = mark(), Stopwatch()
    done = coordinate(workload, parameters, plan_of(workload), _RemoteCrowd(pipe), times, threads=threads, tell=progress)
    found = {
        "steps": [(step, (spent.wall_s, spent.process_s, spent.calls)) for (_, step), spent in times.steps.items()],
        "mean": np.ascontiguousarray(done.mean, np.float32).tobytes(),
        "masks_removed": done.masks_removed,
        "upload_bytes": done.upload_bytes,
        "error_bound": done.error_bound,
        "peak_bytes": peak_bytes() - before,
    }
    pipe.send(("done", found, False))
