"""All parties of a round in one process: what each does with a message, timed.

Every party is a real one: it thaws its state from a store of its own for each message, checks what it is told, agrees on its own keys, and
encodes, masks and packs its own vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from benchmarks.stopwatch import PARTIES, Stopwatch
from benchmarks.workload import NAME, Workload
from stfed.crypto import shamir
from stfed.crypto.keystream import KEY_BYTES, random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding import EncodingPlan, Update
from stfed.secagg import directory, params
from stfed.secagg.messages import PrepareRequest, TrainRequest, encode_parties
from stfed.secagg.party import Party
from stfed.secagg.payload import masked_payload
from stfed.secagg.policy import Policy
from stfed.secagg.store import MemoryStore, Transaction

_PER_PROCESS = (directory._check_entries, directory._cohort_digest, directory._decoded, params._choose, shamir._vandermonde)
"""Caches that a party in a process of its own starts without."""
_ENCODED_ALONE = 5
"""So many parties encode their vector a second time without masks, untimed as part of the round, to tell the two apart."""


class Crowd(Protocol):
    """Who answers a coordinator, wherever it is."""

    def answer(self, step: str, node: int, request: bytes) -> bytes:
        """A party's reply to JOIN, PREPARE or UNMASK."""
        ...

    def train(self, node: int, request: bytes) -> tuple[bytes, bytes] | None:
        """A party's reply to TRAIN and its masked vector; None from one that drops."""
        ...


class LocalCrowd:
    """The parties, here.

    Args:
        workload: what they send, and who drops.
        plan: how they encode it.
        policy: every party's.
        times: counts the parties' steps.
        threads: for masking.
        sharing: thousands of parties keep what they have in common once instead of each in its own store, and what a process computes
            once and keeps (the check of the directory, the cohort's digest, the calculator's answer) is kept between parties; where this
            is off, it is forgotten between two parties, so that each pays for itself.
    """

    def __init__(self, workload: Workload, plan: EncodingPlan, policy: Policy, times: Stopwatch, *, threads: int, sharing: bool) -> None:
        self._workload, self._plan, self._threads, self._sharing = workload, plan, threads, sharing
        self._common = Common()
        stores = [SharingStore(self._common) if sharing else MemoryStore() for _ in range(workload.parties)]
        self._parties = [Party(store, policy) for store in stores]
        self._times, self._timing = times, partial(times.timing, PARTIES)
        self._seen = b""
        self._encoded_alone = 0
        self.encode_s = 0.0
        """Process seconds of encoding and packing a vector without masks; the mean over a few parties."""

    def answer(self, step: str, node: int, request: bytes) -> bytes:
        """See `Crowd`."""
        if step == "prepare" and not self._sharing:
            for cached in _PER_PROCESS:
                cached.cache_clear()
        elif step == "prepare" and self._seen != request:
            message, self._seen = PrepareRequest.decode(request), request
            self._common.parts += [b"".join(message.directory), encode_parties(message.cohort)]
        with self._timing(step):
            return self._parties[node].answer(request)

    def train(self, node: int, request: bytes) -> tuple[bytes, bytes] | None:
        """See `Crowd`."""
        workload, party = self._workload, self._parties[node]
        if node in workload.dropped:
            return None
        if self._sharing and len(self._common.parts) < 3:
            self._common.parts.append(encode_parties(TrainRequest.decode(request).alive))
        received, trained = workload.received, workload.trained(node)
        with self._timing("hash"):
            content = hashlib.sha256(received[NAME].data).digest()
        with self._timing("train"):
            ticket = party.start_training(request, content)
        with self._timing("seal"):
            update = Update(self._plan, received, trained, workload.weight(node), {}, random_filler(system_entropy))
            payload = ticket.masks.seal(update, system_entropy, threads=self._threads)
        with self._timing("train"):
            reply = party.finish_training(ticket, update.schema.encode(), len(payload))
        if self._encoded_alone < _ENCODED_ALONE:
            self._encode_alone(update)
        return reply, payload

    def _encode_alone(self, update: Update) -> None:
        alone = Stopwatch()
        with alone.timing(PARTIES, "encode"):
            masked_payload(update, (), (), system_entropy(KEY_BYTES), threads=self._threads)
        self.encode_s = (self.encode_s * self._encoded_alone + alone.of(PARTIES).process_s) / (self._encoded_alone + 1)
        self._encoded_alone += 1


class Common:
    """What the records of all parties have in common.

    Attributes:
        parts: the directory, the cohort, U1.
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def cut(self, record: bytes) -> tuple[bytes | int, ...]:
        """The record with the number of a part in the place of each. One part of 10,000 parties is a megabyte, and every record has it."""
        pieces: list[bytes | int] = [record]
        for number, part in enumerate(self.parts):
            pieces = [new for piece in pieces for new in (_without(piece, part, number) if isinstance(piece, bytes) else (piece,))]
        return tuple(pieces)

    def whole(self, pieces: tuple[bytes | int, ...]) -> bytes:
        """The inverse of `cut`."""
        return b"".join(self.parts[piece] if isinstance(piece, int) else piece for piece in pieces)


def _without(piece: bytes, part: bytes, number: int) -> Iterator[bytes | int]:
    begin = part[:64]
    at = piece.find(begin) if begin else -1
    while at >= 0 and not piece.startswith(part, at):
        at = piece.find(begin, at + 1)
    if at < 0:
        yield piece
        return
    yield piece[:at]
    yield number
    yield from _without(piece[at + len(part) :], part, number)


class SharingStore:
    """A `MemoryStore` that keeps what all parties have in common once."""

    def __init__(self, common: Common) -> None:
        self._store, self._common = MemoryStore(), common
        self._pieces: tuple[bytes | int, ...] | None = None

    @contextmanager
    def transaction(self, run: int) -> Iterator[Transaction]:
        """See `PartyStore`; for one run."""
        with self._store.transaction(run) as inside:
            whole = None if self._pieces is None else self._common.whole(self._pieces)
            yield (mine := _SharingTransaction(inside, whole))
            if mine.written is not None:
                self._pieces = self._common.cut(mine.written)


class _SharingTransaction:
    def __init__(self, inside: Transaction, record: bytes | None) -> None:
        self._inside, self._record = inside, record
        self.written: bytes | None = None

    def position(self) -> tuple[int, int]:
        return self._inside.position()

    def read(self) -> bytes | None:
        return self._record if self.written is None else self.written

    def write(self, epoch: int, round_: int, record: bytes) -> None:
        self._inside.write(epoch, round_, b"")
        self.written = record

    def add_content(self, phase: int, digest: bytes) -> bool:
        return self._inside.add_content(phase, digest)
