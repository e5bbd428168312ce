"""One whole round of `stfed` in one process, every part of it timed.

The real core runs, as behind Flower: messages cross as bytes, every party thaws its state from a store for each message and checks what
it is told, updates are float32 models that are clipped, rounded, masked and packed, the coordinator adds them up as they arrive, recovers
the masks and decodes the mean. Left out on both sides of every comparison: training, the network, and Flower's own transport.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.bench.crowd import Crowd, LocalCrowd
from stfed.bench.stopwatch import COORDINATOR, Stopwatch
from stfed.bench.workload import CLIP, MAX_WEIGHT, NAME, Workload
from stfed.encoding import EncodingPlan, MetricSchema, decode_sum
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import Parameters
from stfed.secagg.policy import Policy
from stfed.secagg.server import Joining, Preparing
from stfed.secagg.transcript import RoundFacts

Tell = Callable[[str], object]
"""Where a line for whoever is waiting goes."""


def silent(text: str) -> None:
    """Nowhere."""


@dataclass(frozen=True)
class Result:
    """What one round took, and how far its mean is from the true one.

    Attributes:
        words: length of the ring vector.
        masks_removed: keystreams, each as long as the vector, that the coordinator had to take off the sum.
        upload_bytes: a party's masked vector with the message around it.
        error: largest absolute error of a coordinate of the mean.
        error_bound: what the encoding promises for it, the last rounding to float32 apart.
        encode_s: process seconds of a party's encoding and packing by itself. Its step "seal" has it inside, tile by tile with the masks.
    """

    workload: Workload
    parameters: Parameters
    threads: int
    words: int
    masks_removed: int
    upload_bytes: int
    times: Stopwatch
    error: float
    error_bound: float
    encode_s: float

    @property
    def exact(self) -> bool:
        """Whether the mean is right up to what the encoding promises and one rounding to float32 of a number under 1."""
        return self.error <= self.error_bound + 2.0**-24

    def as_json(self) -> dict[str, Any]:
        """The measurements, for `json.dump`."""
        return {
            "parameters": self.workload.parameters,
            "dropped": len(self.workload.dropped),
            **{key: getattr(self.parameters, key) for key in ("n", "k", "t", "graph")},
            "threads": self.threads,
            "masks_removed": self.masks_removed,
            "upload_bytes": self.upload_bytes,
            "max_error": self.error,
            "error_bound": self.error_bound,
            "encode_s": self.encode_s,
            "steps": self.times.as_json(),
        }


def run_round(
    workload: Workload,
    parameters: Parameters,
    *,
    threads: int = 1,
    times: Stopwatch | None = None,
    sharing: bool = False,
    tell: Tell = silent,
    **encoding: Any,
) -> Result:
    """JOIN, PREPARE, TRAIN and UNMASK, with the workload's drops after PREPARE, in this process.

    Args:
        workload: what is summed.
        parameters: k and t.
        threads: for masking and unmasking.
        times: a stopwatch of the caller's.
        sharing: as `LocalCrowd`; for thousands of parties.
        tell: what to do with a line when a step begins.
        encoding: settings of the plan, in place of 32 bits and the workload's clip and largest weight.
    """
    times = Stopwatch() if times is None else times
    plan = plan_of(workload, **encoding)
    crowd = LocalCrowd(workload, plan, policy_of(parameters), times, threads=threads, sharing=sharing)
    done = coordinate(workload, parameters, plan, crowd, times, threads=threads, tell=tell)
    error = workload.error(done.mean)
    sizes = threads, plan.vector_length, done.masks_removed, done.upload_bytes
    return Result(workload, parameters, *sizes, times, error, done.error_bound, crowd.encode_s)


def plan_of(workload: Workload, **encoding: Any) -> EncodingPlan:
    """The encoding of a workload."""
    settings = {"clip": CLIP, "max_weight": MAX_WEIGHT, "metric_slots": 0, **encoding}
    return EncodingPlan.for_arrays(workload.received, parties=workload.parties, **settings)


def policy_of(parameters: Parameters) -> Policy:
    """Of every party."""
    return Policy(gamma=parameters.gamma, delta=parameters.delta)


@dataclass(frozen=True)
class Done:
    """What a coordinator has after a round; as in `Result`."""

    mean: NDArray[Any]
    masks_removed: int
    upload_bytes: int
    error_bound: float


def coordinate(
    workload: Workload,
    parameters: Parameters,
    plan: EncodingPlan,
    crowd: Crowd,
    times: Stopwatch,
    *,
    threads: int = 1,
    tell: Tell = silent,
) -> Done:
    """The coordinator's side of a round, timed; the crowd answers outside of its time."""
    ours, policy, received = partial(times.timing, COORDINATOR), policy_of(parameters), workload.received
    tell(f"JOIN and PREPARE, {workload.parties} parties")
    with ours("join"):
        joining = Joining(Header(run=1, epoch=1, round=0), policy.mode)
        request = joining.request().encode()
    for node in range(workload.parties):
        reply = crowd.answer("join", node, request)
        with ours("join"):
            joining.add(node, reply)
    with ours("join"):
        enrolment = joining.close()

    with ours("prepare"):
        cohort = tuple(range(workload.parties))
        header, digest = Header(run=1, epoch=1, round=1), enrolment.directory.cohort_digest(cohort)
        facts = RoundFacts(header, Phase.TRAIN, policy.mode, parameters.k, parameters.t, plan.encode(), cohort, digest)
        preparing = Preparing(facts, enrolment.names(), policy.floor(len(cohort), parameters.k))
        request = preparing.request(enrolment.directory.encoded).encode()
    for index, node in enumerate(enrolment.nodes):
        reply = crowd.answer("prepare", node, request)
        with ours("prepare"):
            preparing.add(index, reply)

    tell(f"TRAIN, {workload.parties - len(workload.dropped)} parties")
    with ours("hash"):
        content = hashlib.sha256(received[NAME].data).digest()
    with ours("train"):
        collecting = preparing.close(content)
    upload_bytes = 0
    for index in collecting.alive:
        with ours("train"):
            request = collecting.request(index).encode()
        answer = crowd.train(enrolment.nodes[index], request)
        if answer is None:
            continue
        with ours("sum"):
            collecting.add(index, *answer)
        upload_bytes = sum(map(len, answer))

    tell("UNMASK")
    with ours("unmask"):
        unmasking = collecting.close()
        request = unmasking.request().encode()
    for index in unmasking.survivors:
        reply = crowd.answer("unmask", enrolment.nodes[index], request)
        with ours("unmask"):
            unmasking.add(index, reply)
            unmasking.complete()
    with ours("recover"):
        total = unmasking.close(threads=threads)
    with ours("decode"):
        mean = decode_sum(plan, total.total, len(total.survivors), received, MetricSchema.decode(total.schema))

    graph, survivors = facts.graph(), frozenset(total.survivors)
    edges = sum(other in survivors for index in set(cohort) - survivors for other in graph.neighbours(index).tolist())
    return Done(np.asarray(mean.arrays[NAME]), len(survivors) + edges, upload_bytes, mean.error_bound)
