"""All parties of a round in one process: what each does with a message, timed.

Every party is a real one: it thaws its state from a store of its own for each message, checks what it is told, agrees on its own keys, and
encodes, masks and packs its own vector.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Protocol

from stfed.bench.sharing import Common, SharingStore
from stfed.bench.stopwatch import PARTIES, Stopwatch
from stfed.bench.workload import NAME, Workload
from stfed.crypto import shamir
from stfed.crypto.keystream import KEY_BYTES, random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding import EncodingPlan, Update
from stfed.secagg import directory, params
from stfed.secagg.messages import PrepareRequest, TrainRequest, encode_parties
from stfed.secagg.party import Party
from stfed.secagg.payload import masked_payload
from stfed.secagg.policy import Policy
from stfed.secagg.store import MemoryStore

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
        self.encode_s: float = 0.0
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
