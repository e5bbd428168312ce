"""Unmasking by workers on Ray: what `Unmasking.close(accumulate=...)` takes in place of threads of the coordinator's own.

    with RayWorkers(8, address="10.0.0.1:6379") as workers:
        SecureAggregation(FedAvg(), accumulate=workers).start(grid, arrays)

The result is the one that the coordinator would have computed itself, bit by bit, or an error: a shard is done again elsewhere when its
worker dies, its sum is added once, and when no worker is left the round fails. How the work is cut, and why Ray carries nothing but
ciphertext, is in `stfed.flower.shards`.

Workers belong to the coordinator: for one round each of them holds keys of that round, and all of them together what the coordinator
holds. Whoever can start code on a Ray cluster owns it (Ray's documentation, "Security"), so the cluster has to be one that only the
coordinator can reach.
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from stfed.crypto import agreement
from stfed.crypto.keystream import SEGMENT_BYTES, Words
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, PeerError, QuorumError
from stfed.flower.shards import Channel, Shard, Worker, describe, piece, split

_AT_ONCE = 2
"""Shards that a worker holds: one that it works on and one that waits, so that it never waits for the coordinator."""
_TRIES = 3
_START_TIMEOUT_S = 60.0


class WorkersLostError(QuorumError):
    """Too few workers are left to finish. Nothing was released; the round can be run again."""

    def __init__(self, why: str) -> None:
        hint = "see the workers' logs, then run the round again; without `accumulate` the coordinator does the work itself"
        super().__init__(f"the sum cannot be unmasked: {why}", hint=hint)


class Carrier(Protocol):
    """Moves bytes to workers and back; `RayWorkers` is one, and tests have one in process. A number stands for a worker."""

    def begin(self) -> Mapping[int, bytes]:
        """A fresh public key of every worker that is there."""
        ...

    def send(self, worker: int, sender: bytes, request: bytes) -> object:
        """Hands a request to a worker and returns what stands for its reply."""
        ...

    def receive(self) -> tuple[object, bytes | str]:
        """Waits for the next reply, whosever it is: what `send` returned, and the reply, or as text why there will be none."""
        ...

    def end(self) -> None:
        """Lets the workers forget their keys. Called after every `begin`, whatever happened."""
        ...


def accumulate(
    carrier: Carrier, words: Words, add: Sequence[bytes], subtract: Sequence[bytes], *, entropy: Entropy = system_entropy
) -> None:
    """`words += streams of add - streams of subtract`, in place, by a carrier's workers: a `masking.Accumulate` behind its first argument.

    Args:
        carrier: reaches the workers.
        words: unsigned words of 16, 32 or 64 bits, one-dimensional, contiguous, writable.
        add: keys of 32 bytes each.
        subtract: keys of 32 bytes each.
        entropy: for the coordinator's key of this call and the nonces.

    Raises:
        WorkersLostError: no worker is left, or one shard was lost three times; `words` is then good for nothing.
        PeerError: a worker's reply is not authentic; likewise.
    """
    keys, segments = len(add) + len(subtract), -(-words.nbytes // SEGMENT_BYTES)
    try:
        _Call(carrier, words, add, subtract, entropy).run(lambda workers: split(keys, segments, workers))
    finally:
        carrier.end()


class _Call:
    """One unmasking: which shard is where."""

    def __init__(self, carrier: Carrier, words: Words, add: Sequence[bytes], subtract: Sequence[bytes], entropy: Entropy) -> None:
        self._carrier, self._words, self._add, self._subtract = carrier, words, add, subtract
        private = agreement.generate(entropy)
        self._public = agreement.public_key(private)
        self._channels = {worker: Channel(private, public, coordinator=True, entropy=entropy) for worker, public in carrier.begin().items()}
        self._free = deque(list(self._channels) * _AT_ONCE)
        self._out: set[int] = set()
        self._sent: dict[object, tuple[int, Shard, bytes]] = {}
        self._lost: Counter[Shard] = Counter()

    def run(self, cut: Callable[[int], list[Shard]]) -> None:
        """Until everything is added up; `cut` makes the shards for so many workers."""
        if not self._channels:
            raise WorkersLostError("no worker has started")
        waiting: deque[Shard] = deque(cut(len(self._channels)))
        while waiting or self._sent:
            while waiting and self._free:
                self._send(self._free.popleft(), waiting.popleft())
            if not self._sent:
                raise WorkersLostError("no worker is left")
            token, reply = self._carrier.receive()
            worker, shard, request = self._sent.pop(token)
            if isinstance(reply, bytes):
                self._add_up(worker, shard, request, reply)
                if worker not in self._out:
                    self._free.append(worker)
            else:
                self._lose(worker, shard, reply)
                waiting.appendleft(shard)

    def _send(self, worker: int, shard: Shard) -> None:
        request = self._channels[worker].seal_request(describe(self._words, shard, self._add, self._subtract))
        self._sent[self._carrier.send(worker, self._public, request)] = worker, shard, request

    def _add_up(self, worker: int, shard: Shard, request: bytes, reply: bytes) -> None:
        part = piece(self._words, shard)
        try:
            masks = np.frombuffer(self._channels[worker].open_reply(request, reply), part.dtype)
        except PeerError:
            raise PeerError(f"unmask worker {worker} answered with something else than the sum it was asked for") from None
        np.add(part, masks, out=part)

    def _lose(self, worker: int, shard: Shard, why: str) -> None:
        """Gives this worker nothing more; what it holds besides comes back on its own, done or lost."""
        self._out.add(worker)
        self._free = deque(other for other in self._free if other != worker)
        self._lost[shard] += 1
        if self._lost[shard] >= _TRIES:
            raise WorkersLostError(f"{_TRIES} workers failed at the same part of it, the last one with {why}")


class RayWorkers:
    """Workers on Ray, each a process of its own; a `masking.Accumulate`. Started by the first call or by `with`, ended by `close`.

    Args:
        workers: how many.
        address: of a running Ray cluster; None for a Ray of this machine that ends with this object. A Ray that this process is connected
            to already, as in Flower's simulation, is used as it is.
        cpus_per_worker: processors that Ray sets aside for one, and, rounded down, threads that it uses. 0 where others hold all processors
            while they wait, as the parties do in Flower's simulation.
        timeout_s: how long to wait for the next reply of any worker.
    """

    def __init__(self, workers: int, *, address: str | None = None, cpus_per_worker: float = 1, timeout_s: float = 600.0) -> None:
        if workers < 1:
            raise LocalError(f"{workers} unmask workers cannot unmask anything", hint="use one or more, or leave `accumulate` out")
        self._count, self._address, self._cpus, self._timeout_s = workers, address, cpus_per_worker, timeout_s
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._started_ray = False

    def __call__(self, words: Words, add: Sequence[bytes], subtract: Sequence[bytes]) -> None:
        """See `accumulate`."""
        accumulate(self, words, add, subtract)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def begin(self) -> Mapping[int, bytes]:
        """See `Carrier`. Workers that died since the last call are started anew."""
        self._start()
        ray, self._waiting = _ray(), {}
        asked = {actor.begin.remote(): worker for worker, actor in self._actors.items()}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_START_TIMEOUT_S)
        keys, why = {}, "no answer"
        for reference in ready:
            try:
                keys[asked[reference]] = ray.get(reference)
            except ray.exceptions.RayError as error:
                why = type(error).__name__
        for worker in self._actors.keys() - keys.keys():
            self._drop(worker)
        if not keys:
            raise WorkersLostError(
                f"Ray has started none of {self._count} workers with {self._cpus:g} processors each in {_START_TIMEOUT_S:g} s: {why} "
                "(in Flower's simulation, where the parties hold all processors, use cpus_per_worker=0)"
            )
        return keys

    def send(self, worker: int, sender: bytes, request: bytes) -> object:
        """See `Carrier`."""
        reference = self._actors[worker].work.remote(sender, request)
        self._waiting[reference] = worker
        return reference

    def receive(self) -> tuple[object, bytes | str]:
        """See `Carrier`."""
        ray = _ray()
        ready, _ = ray.wait(list(self._waiting), num_returns=1, timeout=self._timeout_s)
        if not ready:
            raise WorkersLostError(f"no worker has answered for {self._timeout_s:g} s")
        worker = self._waiting.pop(ready[0])
        try:
            return ready[0], ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:
            return ready[0], type(error.cause).__name__
        except ray.exceptions.RayError as error:
            self._drop(worker)
            return ready[0], type(error).__name__

    def end(self) -> None:
        """See `Carrier`."""
        self._waiting = {}
        for actor in self._actors.values():
            actor.end.remote()

    def close(self) -> None:
        """Ends the workers, and Ray if it was started for them."""
        if self._actors and _ray().is_initialized():
            for worker in list(self._actors):
                self._drop(worker)
        if self._started_ray:
            _ray().shutdown()
            self._started_ray = False
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        ray = _ray()
        if not ray.is_initialized():
            self._actors = {}
            options: dict[str, Any] = {"address": self._address or "local", "log_to_driver": False, "logging_level": "ERROR"}
            if self._address is None:
                self._folder = tempfile.TemporaryDirectory(prefix="stfed-ray-", ignore_cleanup_errors=True)
                options |= {"num_cpus": max(1, round(self._count * self._cpus)), "include_dashboard": False, "_temp_dir": self._folder.name}
            ray.init(**options)
            self._started_ray = True
        # An actor is never restarted and no call repeated by Ray: a new process has a new key, so what it lost has to be sealed anew.
        options = {"num_cpus": self._cpus, "max_restarts": 0, "max_task_retries": 0}
        for worker in set(range(self._count)) - self._actors.keys():
            self._actors[worker] = ray.remote(Worker).options(**options).remote(max(1, int(self._cpus)))

    def _drop(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        if actor is not None:
            _ray().kill(actor)


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise LocalError("Ray is not installed, and the unmask workers run on it", hint="pip install 'stfed[simulation]'") from None
    return ray
