"""Our own CKKS mode: sums under the key of a key holder (`stfed.flower.ckks`), every part of it timed. Part of `python -m benchmarks.ckks`.

What runs is what runs behind Flower: parties encode and encrypt under the public key, the coordinator reads every vector and adds it, the
key holder reads the sum, decrypts it with the noise that keeps its key safe, and the coordinator makes a model of the mean. Left out, as
everywhere here: training, the network, Flower's transport; and the signatures, which take microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.line import Line
from benchmarks.progress import progress
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Spent, Stopwatch
from stfed.bench.workload import NAME, Workload
from stfed.encrypted.context import SecretContext
from stfed.flower.ckks import SUMS, vectors
from stfed.flower.ckks.numbers import average, decode, numbers_of
from stfed.flower.ckks.plan import SumPlan

KEY_HOLDER = "key holder"
METRICS = {"loss": 0.5}


@dataclass(frozen=True)
class Result:
    """One round.

    Attributes:
        up_bytes: one party's vector, and as much goes from the coordinator to the key holder.
        mean_bytes: what the key holder sends back.
        error: largest absolute error of a coordinate of the mean.
        error_bound: what is promised for it, the last rounding to float32 apart.
    """

    times: Stopwatch
    up_bytes: int
    mean_bytes: int
    error: float
    error_bound: float

    @property
    def right(self) -> bool:
        """Whether the mean is as close as it says."""
        return self.error <= self.error_bound + np.finfo(np.float32).eps

    @property
    def whole(self) -> Spent:
        """The time of everybody."""
        return self.times.of(COORDINATOR) + self.times.of(PARTIES) + self.times.of(KEY_HOLDER)


def run_round(workload: Workload, *, clip: float, max_weight: float) -> Result:
    """Every party encrypts, the coordinator adds, the key holder decrypts.

    Raises:
        LocalError: TenSEAL is not installed.
    """
    secret, times = SecretContext.generate(SUMS, rotations=False), Stopwatch()
    ours, theirs, holder = (partial(times.timing, role) for role in (COORDINATOR, PARTIES, KEY_HOLDER))
    received: dict[str, Any] = dict(workload.received)
    plan = SumPlan.of(received, workload.parties, clip=clip, max_weight=max_weight)
    total = vectors.Total(plan.scale(secret.public, len(METRICS)))
    progress(f"CKKS mode: {workload.parties} parties encrypt, the coordinator adds")
    sent, schema = b"", None
    for party in range(workload.parties):
        trained, weight = workload.trained(party), workload.weight(party)
        with theirs("encode"):
            numbers, schema = numbers_of(plan, received, trained, weight, METRICS)
        with theirs("encrypt"):
            sent = vectors.encrypt(plan.scale(secret.public, len(METRICS)), numbers)
        with ours("read and add"):
            total.add(sent)
    assert schema is not None
    with ours("write the sum"):
        encoded = total.encode()
    with holder("read the sum"):
        held = vectors.Total(total.scale)
        held.add(encoded)
    with holder("decrypt"):
        mean = average(plan, vectors.decrypt(secret, held), workload.parties, total.scale.error, total.scale.scalar_error)
    with ours("decode"):
        found = decode(plan, mean, workload.parties, total.scale.error, total.scale.scalar_error, received, schema)
    return Result(times, len(sent), mean.nbytes, workload.error(np.asarray(found.arrays[NAME])), found.error_bound)


def lines(workload: Workload, result: Result, theirs: Stopwatch, masks: Stopwatch) -> list[Line]:
    """Who spends how much time in the three ways, in seconds of processor time, and what the CKKS mode moves."""
    size = f"n = {workload.parties}, d = {workload.parameters:,}"
    party, coordinator = (
        [times.of(role).process_s / share for times in (masks, result.times, theirs)]
        for role, share in ((PARTIES, workload.parties), (COORDINATOR, 1))
    )
    each = [numbers / workload.parameters for numbers in (result.up_bytes, result.mean_bytes)]
    beside = "stfed's masks {:.3f} s, the way of NVFlare {:.3f} s"
    return [
        Line(f"{size}: a party's time, CKKS mode", party[1], "s", note=beside.format(party[0], party[2])),
        Line(f"{size}: the coordinator's time, CKKS mode", coordinator[1], "s", note=beside.format(coordinator[0], coordinator[2])),
        Line(f"{size}: the key holder's time, CKKS mode", result.times.of(KEY_HOLDER).process_s, "s", note="nobody else has one"),
        Line(
            f"{size}: bytes up a parameter, CKKS mode", each[0], "",
            note=f"as many to the key holder, who answers with {each[1]:.1f}; down to a party goes the model, 4",
        ),
        Line(
            f"{size}: largest error of the mean, CKKS mode", result.error,
            note=f"of which the rounding to float32 is all but {result.error_bound:.1e} at most",
        ),
    ]  # fmt: skip
