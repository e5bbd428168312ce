"""One operation on many ciphertexts, on all cores: what comes out is what this process alone would have computed, in the same order.

SEAL's bindings hold Python's lock, so a second core takes a second process. Workers are fresh interpreters, not forks: a fork would copy
the locks of other threads (gRPC's, torch's) as they happen to be. The first batch that is worth it starts them, they live as long as the
context, and they know its parameters and those of its public keys that were needed. **No worker ever gets a secret key**: to send a
ciphertext takes longer than to decrypt it (`stfed.encrypted.paying`), so decryption stays where the key is.

Everything happens in the thread that calls: it gives a few jobs to each worker, does one itself, takes what came back, and so on.
"""

from __future__ import annotations

import selectors
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stfed.encrypted import progress
from stfed.encrypted.arithmetic import Arithmetic, Ciphertext, left_of
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.parcels import Kind, Parcel, ciphertext_of, ciphertexts_in, pack, receive, send, send_ciphertext
from stfed.encrypted.paying import Transfer, hopeless, pays, processes
from stfed.encrypted.process import WorkerProcess
from stfed.encrypted.seal import dump

Job = tuple[Any, ...]
_KEYS = {"encrypt": 1, "zero": 1, "combine": 1, "multiply_plain": 1, "drop": 1, "multiply": 2, "products": 2, "evaluate": 2}
"""How many of the public, relinearisation and Galois keys an operation needs; all of them if it is not here. Galois keys are large."""
_SHORT_S = 0.02
"""Batches of less than this are not thought about."""
_START_S, _KEY_BYTES_PER_S = 0.3, 2e8
"""Until a worker is there: an interpreter with numpy and SEAL, and the keys."""
_SHARED_BYTES_MAX = 1 << 30
"""Of ciphertexts that every process holds during a batch, in all processes together."""
_AHEAD_S = 0.01
"""For so long a worker has something to do beyond the job after the one it is at."""


class _Batch:
    """The jobs of one call, and which of their ciphertexts go where. Ciphertexts are told apart by id(): the jobs hold them."""

    def __init__(self, operation: str, jobs: Sequence[Job]) -> None:
        self.operation, self.jobs = operation, jobs
        self.inside = [list(ciphertexts_in(job)) for job in jobs]
        uses = Counter(identity for inside in self.inside for identity in {id(ciphertext) for ciphertext in inside})
        self._numbers = {identity: number for number, identity in enumerate(uses)}
        self.shared = {identity for identity, count in uses.items() if count > 1}
        self.own = len(uses) - len(self.shared)
        self._streams = dict[int, bytes]()

    def give(self, worker: WorkerProcess, at: int) -> None:
        """Sends job number `at`, with the ciphertexts that the worker does not have yet."""
        worker.tell(self.operation)
        with worker.talking():
            for identity, ciphertext in {id(one): one for one in self.inside[at]}.items():
                number = self._numbers[identity]
                if identity not in self.shared:
                    send_ciphertext(worker.channel, Kind.ONCE, number, ciphertext)
                elif identity not in worker.kept:
                    if identity not in self._streams:
                        self._streams[identity] = dump(ciphertext)
                    send(worker.channel, Kind.KEEP, number, self._streams[identity])
                    worker.kept.add(identity)
            send(worker.channel, Kind.JOB, at, pack(self.jobs[at], lambda ciphertext: self._numbers[id(ciphertext)]))
        worker.under_way.add(at)


class Crew:
    """The workers of one context, and the decision to use them.

    Args:
        parameters: of the context.
        blobs: its public, relinearisation and Galois keys, as the context was given them.
        arithmetic: what computes in this process.
        seal_context: what results are checked against.
    """

    def __init__(self, parameters: Parameters, blobs: Sequence[bytes | None], arithmetic: Arithmetic, seal_context: Any) -> None:
        self._parameters, self._blobs, self._arithmetic, self._seal_context = parameters, blobs, arithmetic, seal_context
        self._workers: list[WorkerProcess] = []
        self._keys, self._busy = 0, threading.Lock()
        self._transfers = dict[int, Transfer]()
        weakref.finalize(self, _end, self._workers)  # also when the interpreter ends

    def each(self, operation: str, jobs: Sequence[Job]) -> list[Ciphertext]:
        """One of `Arithmetic`'s operations on each of the jobs, in their order.

        Args:
            operation: the name of a method that returns one ciphertext.
            jobs: its arguments, of the types that `stfed.encrypted.parcels.pack` knows.

        Raises:
            LocalError: a worker has ended, which none does by itself: somebody killed it, as the system does when memory runs out. Nothing
                is given back then, and the next call starts new ones.
        """
        function = getattr(self._arithmetic, operation)
        with progress.reported(operation, len(jobs)) as advance:
            results = list[Ciphertext]()
            for job in jobs[:1]:
                began = time.thread_time()  # other programs' time on this core is none of its own
                results.append(function(*job))
                took_s = time.thread_time() - began
                advance()
                # By the first one it shows whether the others are worth more thought.
                if self._worth_a_thought(took_s, len(jobs) - 1, results[0]) and self._busy.acquire(blocking=False):
                    try:
                        rest = _Batch(operation, jobs[1:])
                        if self._pays(rest, took_s / max(1, len(list(ciphertexts_in(job)))), results[0]):
                            return results + self._together(rest, took_s, function, advance)
                    finally:
                        self._busy.release()
            for job in jobs[1:]:
                results.append(function(*job))
                advance()
            return results

    def _worth_a_thought(self, job_s: float, jobs: int, result: Ciphertext) -> bool:
        """Whether workers could pay at all."""
        if job_s * jobs <= _SHORT_S or processes() < 2 or not sys.executable:
            return False
        return not hopeless(job_s, self._transfer(result))

    def _transfer(self, sample: Ciphertext) -> Transfer:
        moduli = left_of(sample) + 1
        if moduli not in self._transfers:
            self._transfers[moduli] = Transfer.measured(self._seal_context, sample)
        return self._transfers[moduli]

    def _pays(self, batch: _Batch, ciphertext_s: float, result: Ciphertext) -> bool:
        """Decides by the time that the first job took for each of its ciphertexts."""
        workers = processes() - 1
        sample = next((ciphertext for inside in batch.inside for ciphertext in inside), result)
        if len(batch.shared) * 2 * 8 * (left_of(sample) + 1) * self._parameters.degree * (workers + 1) > _SHARED_BYTES_MAX:
            return False
        start_s, needed = 0.0, self._needed(batch.operation)
        if not self._workers or self._keys < needed:
            start_s = _START_S + sum(len(blob or b"") for blob in self._blobs[:needed]) / _KEY_BYTES_PER_S
        here_s = ciphertext_s * sum(max(1, len(inside)) for inside in batch.inside)
        return pays(here_s, len(batch.jobs), batch.own, len(batch.shared), self._transfer(sample), workers, start_s)

    def _needed(self, operation: str) -> int:
        return _KEYS.get(operation, len(self._blobs))

    def _together(
        self, batch: _Batch, job_s: float, function: Callable[..., Ciphertext], advance: Callable[[], object]
    ) -> list[Ciphertext]:
        """All jobs: those at the front go to workers, a few ahead, and this process takes from the back in between."""
        results: list[Ciphertext] = [None] * len(batch.jobs)
        waiting = deque(range(len(batch.jobs)))
        ahead = 2 + min(6, int(_AHEAD_S / job_s))
        with self._mustered(batch.operation) as selector:
            while waiting or any(worker.under_way for worker in self._workers):
                for key, _ in selector.select(0 if waiting else None):
                    worker: WorkerProcess = key.fileobj  # type: ignore[assignment]
                    at = self._received(worker, receive(worker.channel), results)
                    if at is None:
                        continue
                    if results[at] is None:  # it failed there: done here, it has its error here
                        results[at] = function(*batch.jobs[at])
                    advance()
                for worker in self._workers:
                    while worker.ready and waiting and len(worker.under_way) < ahead:
                        batch.give(worker, waiting.popleft())
                if waiting:
                    at = waiting.pop()
                    results[at] = function(*batch.jobs[at])
                    advance()
        return results

    def _received(self, worker: WorkerProcess, parcel: Parcel | None, results: list[Ciphertext]) -> int | None:
        """Takes one parcel; the number of the job that it ends."""
        if parcel is None:
            raise worker.lost()
        if parcel.kind is Kind.READY:
            worker.ready = True
            return None
        if parcel.kind is Kind.RESULT:
            results[parcel.number] = ciphertext_of(parcel, self._seal_context)
        worker.under_way.discard(parcel.number)
        return parcel.number

    @contextmanager
    def _mustered(self, operation: str) -> Iterator[selectors.BaseSelector]:
        """Workers that live, are this process's own, and have the keys for the operation.

        They are ended by whatever error there is: none is left with half a batch. In a fork, the workers are not its children; `subprocess`
        takes that for dead, so that others are started, and those go on to work for their parent.
        """
        needed = self._needed(operation)
        if self._keys < needed or any(worker.process.poll() is not None for worker in self._workers):
            _end(self._workers)
        self._keys = max(self._keys, needed)
        try:
            while len(self._workers) < processes() - 1:
                self._workers.append(worker := WorkerProcess())
                worker.begin(self._parameters, self._blobs[: self._keys])
            with selectors.DefaultSelector() as selector:
                for worker in self._workers:
                    selector.register(worker, selectors.EVENT_READ)
                yield selector
            for worker in self._workers:
                worker.tell("")
        except BaseException:
            _end(self._workers)
            raise


def _end(workers: list[WorkerProcess]) -> None:
    for worker in workers:
        worker.end()
    workers.clear()
