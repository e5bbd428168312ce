"""What the parts of a round cost, on one core and in bytes, each measured with the code that a round runs: for `benchmarks.million`.

All of it is processor time, so that other work on the machine disturbs it little; of what is short, the least of some tries.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from benchmarks.million import DELTA, GAMMA, MILLION, Constants
from benchmarks.progress import progress
from stfed.bench.round import run_round
from stfed.bench.stopwatch import COORDINATOR
from stfed.bench.workload import Workload
from stfed.crypto import aead, agreement, keystream, shamir
from stfed.crypto.keystream import KEY_BYTES, SEGMENT_BYTES
from stfed.crypto.random import system_entropy
from stfed.flower import SecAggMod, SecureAggregation
from stfed.flower.shards import Channel, Worker, describe, piece, split
from stfed.secagg import keys
from stfed.secagg.messages import Header
from stfed.secagg.params import choose
from stfed.secagg.policy import Policy
from stfed.secagg.store import MemoryStore
from stfed.testing import InMemoryGrid

_FEW = 48
_HEADER = Header(run=1, epoch=1, round=1)


def constants(parties: int, parameters: int, times: Mapping[str, float], words: int, masks: int) -> Constants:
    """Of this machine.

    Args:
        parties: of the small cohort, with the k and t of a million.
        parameters: length of the vector where its length is what counts.
        times: of `speeds`.
        words: its vector.
        masks: its keys.
    """
    large = choose(MILLION, GAMMA, DELTA)
    small = choose(parties, GAMMA, DELTA, graph="sparse", k=large.k, t=large.t)
    progress(f"a round of {parties} parties with k = {large.k}, t = {large.t}")
    short = run_round(Workload(parties, 64, dropout=DELTA), small, tell=progress)
    long = run_round(Workload(8, parameters), choose(8, 0.0, 0.0), tell=progress)
    light = [step for role, step in short.times.steps if role == COORDINATOR and step not in ("join", "decode")]
    sums = long.times.of(COORDINATOR, "sum")
    one = [system_entropy(KEY_BYTES) for _ in range(2000)]
    key_s = core_seconds(lambda: keystream.accumulate(np.zeros(1, np.uint32), one, threads=1)) / len(one)
    few, many = (_bytes(count, large.k, large.t) for count in (_FEW, 2 * _FEW))
    each, each_joining = (many.down - few.down) / _FEW, (many.joining - few.joining) / _FEW
    return Constants(
        mask_ns=1e9 * times["one thread, processor time"] / (words * masks) - 1e9 * key_s / words,
        key_ns=1e9 * key_s,
        sum_ns=1e9 * sums.process_s / sums.calls / parameters,
        party_ms=1e3 * short.times.of(COORDINATOR, *light).process_s / parties,
        reconstruct_us=1e6 * _reconstruct_s(large.t),
        derive_us=1e6 * _derive_s(),
        carry_ns=1e9 * _carry_s(parameters),
        efficiency=min(1.0, times["one thread"] / times["two workers on Ray"] / 2),
        up_bytes=few.up,
        down_bytes=few.down - each * _FEW,
        down_bytes_each=each,
        join_bytes_each=each_joining - each,
        held_bytes=few.held,
    )


def _reconstruct_s(t: int) -> float:
    """Seconds of one secret, 256 at once, each from other holders."""
    points = np.array([random.Random(at).sample(range(1, 4 * t), t) for at in range(256)])
    shares = np.random.default_rng(1).integers(0, shamir.PRIME, (256, t, shamir.LIMBS), dtype=np.uint16)
    return min(core_seconds(lambda: shamir.reconstruct(points, shares)) for _ in range(3)) / 256


def _derive_s() -> float:
    """Seconds of one pair: the seed held against its commitment, the mask's key from the seed."""
    seeds = [system_entropy(KEY_BYTES) for _ in range(2000)]
    transcript = system_entropy(32)

    def derive() -> None:
        for at, seed in enumerate(seeds):
            keys.commit_pairwise_seed(seed, _HEADER, at, at + 1)
            keys.pairwise_mask_key(seed, transcript)

    return min(core_seconds(derive) for _ in range(3)) / len(seeds)


def _carry_s(words: int) -> float:
    """Seconds of the coordinator for one word that a worker sends back: opening and adding."""
    total: NDArray[np.uint32] = np.zeros(words, np.uint32)
    shard = split(1, -(-total.nbytes // SEGMENT_BYTES), 1)[0]
    part, worker, private = piece(total, shard), Worker(), agreement.generate(system_entropy)
    channel = Channel(private, worker.begin(), coordinator=True)
    request = channel.seal_request(describe(total, shard, [bytes(KEY_BYTES)], []))
    reply = worker.work(agreement.public_key(private), request)
    assert len(reply) == part.nbytes + aead.NONCE_BYTES + aead.TAG_BYTES

    def take() -> None:
        np.add(part, np.frombuffer(channel.open_reply(request, reply), part.dtype), out=part)

    return min(core_seconds(take) for _ in range(5)) / part.size


class Bytes(NamedTuple):
    """Of one party: sent by it and to it in a steady round beside vector and model, to it in the first round, and by it in PREPARE."""

    up: float
    down: float
    joining: float
    held: float


def _bytes(parties: int, k: int, t: int) -> Bytes:
    """Counted in rounds behind Flower."""
    stores: dict[int, MemoryStore] = {}

    def train(message: Message, context: Context) -> Message:
        return Message(RecordDict({"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    mod = SecAggMod(policy=Policy(gamma=GAMMA, delta=DELTA), store=lambda context: stores.setdefault(context.node_id, MemoryStore()))
    app = ClientApp()
    app.train(mods=[mod])(train)
    grid, model = InMemoryGrid(app, parties, keep_payloads=False), np.zeros(64, np.float32)
    strategy = SecureAggregation(
        FedAvg(fraction_evaluate=0, min_available_nodes=parties), gamma=GAMMA, delta=DELTA, graph="sparse", neighbours=k, threshold=t
    )
    progress(f"bytes of rounds of {parties} parties")
    logging.getLogger("flwr").setLevel(logging.ERROR)
    strategy.start(grid, ArrayRecord([model]), num_rounds=3)
    first, steady = strategy.reports[:2]
    vector = steady.parameters * steady.ring_bits // 8
    # PREPARE of the next round rides on UNMASK, where it is, and is a part of this round's bytes either way.
    up, down, joining = (sum(counted.values()) / parties for counted in (steady.bytes_up, steady.bytes_down, first.bytes_down))
    return Bytes(up - vector, down - model.nbytes, joining - model.nbytes, first.bytes_up["prepare"] / parties)


def core_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
