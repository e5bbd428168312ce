"""One whole round of `stfed` in one process, every part of it timed: `python -m benchmarks.round --parties 100 --parameters 1000000`.

The real core runs, as behind Flower: messages cross as bytes, every party thaws its state from a store for each message and checks what
it is told, updates are float32 models that are clipped, rounded, masked and packed, the coordinator adds them up as they arrive, recovers
the masks and decodes the mean. Left out on both sides of every comparison: training, the network, and Flower's own transport.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import limits
from benchmarks.crowd import Crowd, LocalCrowd
from benchmarks.limits import Limits
from benchmarks.stopwatch import COORDINATOR, PARTIES, Stopwatch, progress
from benchmarks.workload import CLIP, MAX_WEIGHT, NAME, Workload
from stfed.encoding import EncodingPlan, MetricSchema, decode_sum
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import Parameters, choose
from stfed.secagg.policy import Policy
from stfed.secagg.server import Joining, Preparing
from stfed.secagg.transcript import RoundFacts


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
    **encoding: Any,
) -> Result:
    """JOIN, PREPARE, TRAIN and UNMASK, with the workload's drops after PREPARE, in this process.

    Args:
        workload: what is summed.
        parameters: k and t.
        threads: for masking and unmasking.
        times: a stopwatch of the caller's.
        sharing: as `LocalCrowd`; for thousands of parties.
        encoding: settings of the plan, in place of 32 bits and the workload's clip and largest weight.
    """
    times = Stopwatch() if times is None else times
    plan = plan_of(workload, **encoding)
    crowd = LocalCrowd(workload, plan, policy_of(parameters), times, threads=threads, sharing=sharing)
    done = coordinate(workload, parameters, plan, crowd, times, threads=threads)
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


def coordinate(workload: Workload, parameters: Parameters, plan: EncodingPlan, crowd: Crowd, times: Stopwatch, *, threads: int = 1) -> Done:
    """The coordinator's side of a round, timed; the crowd answers outside of its time."""
    ours, policy, received = partial(times.timing, COORDINATOR), policy_of(parameters), workload.received
    progress(f"stfed: JOIN and PREPARE, {workload.parties} parties")
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

    progress(f"stfed: TRAIN, {workload.parties - len(workload.dropped)} parties")
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

    progress("stfed: UNMASK")
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


def figures(result: Result, limit: Limits) -> list[tuple[str, float, str]]:
    """(name, measured, target) of what is worth watching; all of it process time, which neighbours on the machine disturb least.

    The targets are for 100 parties x 1,000,000 parameters on the complete graph.
    """
    times, parties, masks = result.times, result.workload.parties, result.parameters.k + 1
    seal, recover_s = times.of(PARTIES, "seal"), times.of(COORDINATOR, "recover", "decode").process_s
    seal_s, light_s = seal.process_s / seal.calls, times.of(PARTIES, "join", "prepare", "unmask").process_s
    limit_s = 1e-9 * limit.mask_ns * result.words
    return [
        ("limit: keystream, ns a word", limit.keystream_ns, ""),
        ("limit: addition, ns a word", limit.add_ns, ""),
        ("a party's masking / limit of its k + 1 masks", (seal_s - result.encode_s) / (limit_s * masks), "1.25"),
        ("coordinator's unmask / limit of its masks", recover_s / (limit_s * result.masks_removed), "1.25"),
        ("encode and pack, ns a parameter", 1e9 * result.encode_s / result.workload.parameters, "3"),
        ("JOIN, PREPARE and UNMASK, ms a party", 1e3 * light_s / parties, "6"),
    ]


def report(result: Result, limit: Limits) -> str:
    """The steps of a round, and its `figures`."""
    lines = [
        f"{result.workload.parties} parties x {result.workload.parameters:,} parameters, {result.parameters.graph} graph, "
        f"k = {result.parameters.k}, t = {result.parameters.t}, {len(result.workload.dropped)} drop after PREPARE, "
        f"{result.threads} thread(s)",
        f"largest error of the mean {result.error:.2e}, promised {result.error_bound:.2e}",
        "",
        *result.times.table(),
        "",
        f"{'in process time':46}{'measured':>10}{'at most':>10}",
        *(f"{name:46}{value:10.3f}{target:>10}" for name, value, target in figures(result, limit)),
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.round", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parties", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--graph", choices=("complete", "sparse"), default="complete")
    parser.add_argument("--threshold", type=int, help="t; by default the calculator's")
    parser.add_argument("--gamma", type=float, default=0.1, help="share of corrupt parties")
    parser.add_argument("--delta", type=float, default=0.1, help="share of parties that may drop")
    parser.add_argument("--dropout", type=float, default=0.1, help="share of parties that do drop, after PREPARE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sharing", action="store_true", help="thousands of parties: what all of them keep and compute alike, once")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    parameters = choose(options.parties, options.gamma, options.delta, graph=options.graph, t=options.threshold)
    limit = limits.measure()
    workload = Workload(options.parties, options.parameters, options.dropout)
    result = run_round(workload, parameters, threads=options.threads, sharing=options.sharing)
    print(report(result, limit))
    if options.json:
        options.json.write_text(json.dumps({"limits": asdict(limit), "stfed": result.as_json()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
