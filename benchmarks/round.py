"""One whole round of `stfed` in one process, every part of it timed: `python -m benchmarks.round --parties 100 --parameters 1000000`.

The real core runs, as behind Flower: messages cross as bytes, every party thaws its state from a store for each message and checks what
it is told, updates are float32 models that are clipped, rounded, masked and packed, the coordinator adds them up as they arrive, recovers
the masks and decodes the mean. Left out on both sides of every comparison: training, the network, and Flower's own transport.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks import limits
from benchmarks.stopwatch import COORDINATOR, PARTIES, Stopwatch, progress
from benchmarks.workload import CLIP, MAX_WEIGHT, NAME, Workload
from stfed.crypto.keystream import random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding import EncodingPlan, MetricSchema, decode_sum, encode_update, pack_vector
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import GraphChoice, Parameters, choose
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.server import Joining, Preparing
from stfed.secagg.store import MemoryStore
from stfed.secagg.transcript import RoundFacts

LIGHT_STEPS = ("join", "prepare", "train", "unmask")
"""What a party does in a round beside hashing, encoding, masking and packing its model."""


@dataclass(frozen=True)
class Result:
    """What one round took and how far its mean is from the true one."""

    workload: Workload
    parameters: Parameters
    threads: int
    vector_words: int
    times: Stopwatch
    error: float
    error_bound: float

    def as_json(self) -> dict[str, Any]:
        """The measurements, for `json.dump`."""
        shape = {key: getattr(self.parameters, key) for key in ("n", "k", "t", "graph")}
        steps = [{"role": role, "step": step, **asdict(spent)} for (role, step), spent in self.times.steps.items()]
        return {
            "parameters": self.workload.parameters,
            "dropped": len(self.workload.dropped),
            **shape,
            "threads": self.threads,
            "max_error": self.error,
            "error_bound": self.error_bound,
            "steps": steps,
        }


def run_round(workload: Workload, parameters: Parameters, *, threads: int = 1) -> Result:
    """JOIN, PREPARE, TRAIN and UNMASK with the workload's drops after PREPARE."""
    times = Stopwatch()
    ours, theirs = partial(times.timing, COORDINATOR), partial(times.timing, PARTIES)
    policy = Policy(gamma=parameters.gamma, delta=parameters.delta)
    parties = [Party(MemoryStore(), policy) for _ in range(workload.parties)]
    received = workload.received
    plan = EncodingPlan.for_arrays(received, parties=workload.parties, clip=CLIP, max_weight=MAX_WEIGHT, metric_slots=0)

    progress(f"stfed: JOIN and PREPARE of {workload.parties} parties")
    with ours("join"):
        joining = Joining(Header(run=1, epoch=1, round=0), policy.mode)
        request = joining.request().encode()
    for node, party in enumerate(parties):
        with theirs("join"):
            reply = party.answer(request)
        with ours("join"):
            joining.add(node, reply)
    with ours("join"):
        enrolment = joining.close()
        directory, cohort = enrolment.directory, tuple(range(workload.parties))

    with ours("prepare"):
        header = Header(run=1, epoch=1, round=1)
        digest = directory.cohort_digest(cohort)
        facts = RoundFacts(header, Phase.TRAIN, policy.mode, parameters.k, parameters.t, plan.encode(), cohort, digest)
        preparing = Preparing(facts, enrolment.names(), policy.floor(len(cohort), parameters.k))
        request = preparing.request(directory.encoded).encode()
    for index, node in enumerate(enrolment.nodes):
        with theirs("prepare"):
            reply = parties[node].answer(request)
        with ours("prepare"):
            preparing.add(index, reply)

    progress("stfed: TRAIN")
    with ours("train"):
        content = hashlib.sha256(received[NAME].data).digest()
        collecting = preparing.close(content)
    for index in collecting.alive:
        node = enrolment.nodes[index]
        with ours("train"):
            request = collecting.request(index).encode()
        if node in workload.dropped:
            continue
        trained = workload.trained(node)
        with theirs("hash"):
            content = hashlib.sha256(received[NAME].data).digest()
        with theirs("train"):
            ticket = parties[node].start_training(request, content)
        with theirs("encode"):
            update = encode_update(plan, received, trained, workload.weight(node), {}, random_filler(system_entropy))
        with theirs("mask"):
            ticket.masks.apply(update.vector, threads=threads)
        with theirs("pack"):
            payload = pack_vector(update.vector, plan)
        with theirs("train"):
            reply = parties[node].finish_training(ticket, update.schema.encode(), len(payload))
        with ours("sum"):
            collecting.add(index, reply, payload)

    progress("stfed: UNMASK")
    with ours("unmask"):
        unmasking = collecting.close()
        request = unmasking.request().encode()
    for index in unmasking.survivors:
        with theirs("unmask"):
            reply = parties[enrolment.nodes[index]].answer(request)
        with ours("unmask"):
            unmasking.add(index, reply)
    with ours("recover"):
        total = unmasking.close(threads=threads)
    with ours("decode"):
        mean = decode_sum(plan, total.total, len(total.survivors), received, MetricSchema.decode(total.schema))
    error = workload.error(mean.arrays[NAME])
    return Result(workload, parameters, threads, plan.vector_length, times, error, mean.error_bound)


def report(result: Result, limit: limits.Limits) -> str:
    """The steps of a round, and the figures that have a target of their own."""
    times, parties = result.times, result.workload.parties
    shape = f"{parties} parties x {result.workload.parameters:,} parameters, {result.parameters.graph} graph"
    lines = [
        f"{shape}, k = {result.parameters.k}, t = {result.parameters.t}, {len(result.workload.dropped)} dropped, {result.threads} thread(s)",
        f"max error {result.error:.2e}, bound {result.error_bound:.2e}",
        "",
        f"{'':12}{'step':10}{'wall s':>10}{'process s':>12}{'calls':>8}{'ms a call':>12}",
    ]
    for (role, step), spent in times.steps.items():
        each_ms = 1e3 * spent.process_s / spent.calls
        lines.append(f"{role:12}{step:10}{spent.wall_s:10.3f}{spent.process_s:12.3f}{spent.calls:8d}{each_ms:12.3f}")
    for role in (PARTIES, COORDINATOR):
        spent = times.of(role)
        lines.append(f"{role:12}{'all':10}{spent.wall_s:10.3f}{spent.process_s:12.3f}")
    lines += ["", f"{'process time':48}{'measured':>10}{'target':>10}"]
    lines += [f"{name:48}{value:10.3f}{target:>10}" for name, value, target in figures(result, limit)]
    return "\n".join(lines)


def figures(result: Result, limit: limits.Limits) -> list[tuple[str, float, str]]:
    """(name, measured, target) of what is worth watching, all in process time."""
    times, words = result.times, result.vector_words
    survivors = times.steps[PARTIES, "mask"].calls
    mask_ns = 1e9 * times.of(PARTIES, "mask").process_s / survivors / words
    return [
        ("limit: keystream, ns a word", limit.keystream_ns, ""),
        ("limit: addition, ns a word", limit.add_ns, ""),
        ("a party's masking / limit of its k + 1 masks", mask_ns / (result.parameters.k + 1) / limit.mask_ns, "<= 1.25"),
        ("coordinator's unmasking / limit of its masks", _recover_ratio(result, limit), "<= 1.25"),
        ("encode, ns a parameter", 1e9 * times.of(PARTIES, "encode").process_s / survivors / result.workload.parameters, "<= 5"),
        ("JOIN, PREPARE, TRAIN, UNMASK, ms a party", 1e3 * times.of(PARTIES, *LIGHT_STEPS).process_s / result.workload.parties, "<= 6"),
        ("coordinator, all, s", times.of(COORDINATOR).process_s, "<= 0.8"),
    ]
