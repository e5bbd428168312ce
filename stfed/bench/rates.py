"""How fast this machine does each thing that a round consists of, measured in about a second: what a forecast of a round is made of.

Everything is process time of one core and the least of several tries: what is left when nobody else wants the processor. The code that is
timed is what a round runs; keys, shares and messages are timed in a small real round.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stfed.bench import limits
from stfed.bench.round import plan_of, run_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES
from stfed.bench.workload import NAME, Workload
from stfed.crypto import agreement
from stfed.crypto.identity import Identity, verify
from stfed.crypto.keystream import KEY_BYTES, Streams
from stfed.crypto.labels import Label
from stfed.crypto.random import system_entropy
from stfed.encoding import MetricSchema, Update, Vector, decode_sum, unpack_vector
from stfed.secagg.params import Parameters, choose
from stfed.secagg.payload import masked_payload

_VALUES = 1 << 20
"""4 MiB of words: more than a core's own cache holds, as a model is."""
_FEW, _MANY, _SCALARS = 8, 48, 64
_TRIES = 5
_KEYS = 8
_MASK_KEYS = 4


@dataclass(frozen=True, slots=True)
class Rates:
    """Nanoseconds a word or parameter, microseconds a person; words have 32 bits.

    Attributes:
        keystream_ns: the limit: AES-256 keystream of OpenSSL for a word, in cache.
        add_ns: the limit: adding it to a sum in cache.
        copy_ns: the limit of memory: copying a word of an array too large for the cache.
        hash_ns: SHA-256 of a word: of the model, and in malicious mode of each vector.
        mask_ns: one mask on one word of such an array.
        encode_ns: a parameter's change weighed, clipped, rounded and packed, without masks.
        sum_ns: the coordinator's: a word of a party's packed vector into the running sum.
        decode_ns: the coordinator's: a parameter of the mean out of the sum.
        agree_us: X25519 with one other party, once an epoch.
        verify_us: an Ed25519 signature, in malicious mode.
        party_us: what a round takes a party in any case, but for vectors.
        member_us: on top of it for each party of the cohort: X25519 and all else of an epoch's first round.
        neighbour_us: on top of it for each neighbour.
        reply_us: what a party's replies take the coordinator, but for vectors.
        pair_us: on top of it for each neighbour of the party.
    """

    keystream_ns: float
    add_ns: float
    copy_ns: float
    hash_ns: float
    mask_ns: float
    encode_ns: float
    sum_ns: float
    decode_ns: float
    agree_us: float
    verify_us: float
    party_us: float
    member_us: float
    neighbour_us: float
    reply_us: float
    pair_us: float

    def party_s(self, parameters: Parameters, words: int, masks: int, *, first: bool = True) -> float:
        """Seconds of one core that a round takes a party, training apart.

        Args:
            parameters: of the cohort.
            words: length of the vector, in 32-bit words.
            masks: how many it adds, its own among them.
            first: whether it is the first round of an epoch, in which keys are agreed on.
        """
        signature_us = self._signature_us(parameters)
        each_us = self.member_us + 2 * signature_us if first else self.member_us - self.agree_us + signature_us
        people = self.party_us + parameters.n * max(each_us, 0.0) + parameters.k * self.neighbour_us
        hashed = 1 if parameters.quorum is None else 2
        return 1e-9 * words * (self.encode_ns + masks * self.mask_ns + hashed * self.hash_ns) + 1e-6 * people

    def coordinator_s(self, parameters: Parameters, words: int, masks: int, *, dropped: int = 0) -> float:
        """Seconds of one core that a round takes the coordinator.

        Args:
            parameters: of the cohort.
            words: length of the vector, in 32-bit words.
            masks: of one party, its own among them.
            dropped: how many parties vanish after PREPARE: each leaves its masks with those that stay, about that share of them.
        """
        stay = parameters.n - dropped
        left = stay + dropped * (masks - 1) * stay / parameters.n
        people = parameters.n * (self.reply_us + parameters.k * self.pair_us + 3 * self._signature_us(parameters))
        hashed = 1 if parameters.quorum is None else 1 + stay
        vectors = stay * self.sum_ns + left * self.mask_ns + hashed * self.hash_ns + self.decode_ns
        return 1e-9 * words * vectors + 1e-6 * people

    def _signature_us(self, parameters: Parameters) -> float:
        return 0.0 if parameters.quorum is None else self.verify_us


def measure() -> Rates:
    """All of them."""
    limit = limits.measure()
    bare = limit.keystream_ns, limit.add_ns, _copy_ns(), _hash_ns()
    return Rates(*bare, _mask_ns(), *vector_ns(), _agreement_us(), _verify_us(), *_people_us())


def least_s(call: Callable[[], object], tries: int = _TRIES) -> float:
    """The least process seconds of a call in so many."""
    best = float("inf")
    for _ in range(tries):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def _copy_ns() -> float:
    source, target = np.ones(_VALUES, np.uint32), np.zeros(_VALUES, np.uint32)
    return 1e9 * least_s(lambda: np.copyto(target, source)) / source.size


def _hash_ns() -> float:
    data = bytes(4 * _VALUES)
    return 1e9 * least_s(lambda: hashlib.sha256(data)) / _VALUES


def _mask_ns() -> float:
    streams, total = Streams([os.urandom(KEY_BYTES) for _ in range(_MASK_KEYS)]), np.zeros(_VALUES, np.uint32)
    return 1e9 * least_s(lambda: streams.accumulate(total, threads=1)) / (_MASK_KEYS * total.size)


def vector_ns(**encoding: Any) -> tuple[float, float, float]:
    """Encoding, summing, decoding: `encode_ns`, `sum_ns` and `decode_ns` of another encoding than the usual one of 32 bits."""
    work = Workload(2, _VALUES)
    plan, received, trained, key = plan_of(work, **encoding), work.received, work.trained(0), os.urandom(KEY_BYTES)
    payload = b""

    def encode() -> None:
        nonlocal payload
        update = Update(plan, received, trained, work.weight(0), {}, lambda out: out.fill(0))
        payload = masked_payload(update, (), (), key, threads=1)

    def add() -> None:
        total.add(unpack_vector(payload, plan), plan)

    total = Vector.zeros(plan)
    encode_s = least_s(encode)
    once = unpack_vector(payload, plan)
    decode_s = least_s(lambda: decode_sum(plan, once, 1, received, MetricSchema()).arrays[NAME])
    return 1e9 * encode_s / _VALUES, 1e9 * least_s(add) / plan.vector_length, 1e9 * decode_s / _VALUES


def _agreement_us() -> float:
    private = os.urandom(32)
    others = [agreement.public_key(os.urandom(32)) for _ in range(_KEYS)]
    return 1e6 * least_s(lambda: agreement.shared_secrets(private, others)) / _KEYS


def _verify_us() -> float:
    key, text = Identity.generate(system_entropy), bytes(32)
    signature = key.sign(Label.SIGN_MESSAGE, text)

    def check() -> None:
        for _ in range(_KEYS):
            verify(key.public_bytes, signature, Label.SIGN_MESSAGE, text)

    return 1e6 * least_s(check) / _KEYS


def _people_us() -> tuple[float, float, float, float, float]:
    """What is left of a round when the model is next to nothing: of a few, of many with few neighbours, of many who all are neighbours."""
    few, sparse, complete = choose(_FEW, 0.1, 0.1), choose(_MANY, 0.1, 0.1, graph="sparse"), choose(_MANY, 0.1, 0.1, graph="complete")
    (few_us, _), (sparse_us, sparse_reply_us), (complete_us, complete_reply_us) = map(_light_us, (few, sparse, complete))
    wider = complete.k - sparse.k
    neighbour_us, pair_us = max(complete_us - sparse_us, 0.0) / wider, max(complete_reply_us - sparse_reply_us, 0.0) / wider
    member_us = max(sparse_us - few_us - neighbour_us * (sparse.k - few.k), 0.0) / (_MANY - _FEW)
    party_us = max(few_us - _FEW * member_us - few.k * neighbour_us, 0.0)
    return party_us, member_us, neighbour_us, max(sparse_reply_us - sparse.k * pair_us, 0.0), pair_us


def _light_us(parameters: Parameters) -> tuple[float, float]:
    """For one party: its own time in a round, and the coordinator's."""
    times = run_round(Workload(parameters.n, _SCALARS), parameters).times
    party, coordinator = (1e6 * times.of(role).process_s / parameters.n for role in (PARTIES, COORDINATOR))
    return party, coordinator
