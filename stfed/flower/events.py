"""What happened in a run, for people and for tools: one JSON object a line, written as it happens.

The event log is the coordinator's own account. It holds public facts only: who was asked and summed, what the protocol's numbers were,
how long each step took, how many bytes moved, the means that the sums released. Nothing in it is about one party but whether it took
part.

Every line has `time` (seconds since the epoch) and `event`:

- `start`: strategy, number of rounds, settings.
- `epoch`: everybody joined anew.
- `step`: a step of a sum began, goes on, or is over; with how many replies.
- `round`: one secure sum, as `RoundReport`.
- `model`: the global model of a round was sealed into a file.
- `dispute`: a party complained about another's shares; which two, and of what.
- `evaluation`: what the strategy's `evaluate_fn` said about a round's global model.
- `end`: the run is over, after so many seconds; `failure` says why if it did not get to its end.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from stfed.dp import DpRelease
from stfed.encoding import DecodedSum, EncodingPlan
from stfed.errors import LocalError
from stfed.secagg.params import Parameters
from stfed.secagg.server import Drop


class EventLog:
    """Appends events to a file and tells listeners.

    Args:
        path: the file, created with mode 0600; None keeps none.
        listener: called with every event, for a display.
    """

    def __init__(self, path: str | Path | None = None, listener: Callable[[dict[str, object]], None] | None = None) -> None:
        self.path: Path | None = None if path is None else Path(path)
        self._listener = listener
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise LocalError(f"the event log {self.path} cannot be written: {error.strerror}") from error

    def emit(self, event: str, **fields: object) -> None:
        """Writes one event. A line is written in one call, so that a reader never sees half of one."""
        entry = {"time": round(time.time(), 3), "event": event, **fields}
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, allow_nan=False) + "\n")
        if self._listener is not None:
            self._listener(entry)


@dataclass(slots=True)
class RoundReport:
    """One secure sum, from the coordinator's side.

    Attributes:
        phase: "train" or "evaluate".
        server_round: Flower's round, where the strategy's config has it.
        group: which of the groups that the strategy's round was cut into, from 0; None for a sum over all of them. A JOIN before the groups
            is a trip and takes time in each of them; its bytes are in the first's.
        round: the protocol's round number; every sum has its own.
        epoch: the epoch it was in.
        asked: node ids that the strategy sampled.
        summed: node ids whose updates are in the sum.
        dropped: node id -> step, reason and detail of whoever is not, or left later.
        mode: what the parties trust the coordinator with.
        n, k, t, graph, corrupt: the cohort and the protocol's parameters; `corrupt` is C.
        quorum: signatures that the survivor set needed; None in semi-honest mode.
        confirmed: node ids that signed the survivor set.
        ring_bits, clip, max_weight: the encoding's.
        parameters: length of the vector in ring words.
        total_weight: sum of the weights, exact. Not in the event log: the totals of two rounds tell the weight of who took part in one.
        clipped: coordinates clipped, over all parties.
        saturated: parties whose weight was over `max_weight`.
        error_bound: worst-case absolute error of a coordinate of the mean, noise not counted.
        plan: the encoding; not in the event log.
        within: with adaptive clipping, the noised share of parties whose norm was within the clip.
        privacy: what a differentially private sum gave away, and all before it (`stfed.dp.DpRelease`).
        metrics: the means of the parties' metrics.
        trips: how often messages went out and replies came back: two in a steady round, three in malicious mode.
        seconds: by step: join, prepare, train, confirm, unmask, sum. A round that was prepared ahead spends none on prepare. Sums under a
            key holder's key (`stfed.flower.ckks`) have train and decrypt.
        bytes_down, bytes_up: by step, over all parties, without Flower's framing; `ahead` is what rode on UNMASK for the next round.
        failure: why there is no sum; None if there is one.
    """

    phase: str
    asked: tuple[int, ...]
    server_round: int | None = None
    group: int | None = None
    round: int = 0
    epoch: int = 0
    summed: tuple[int, ...] = ()
    dropped: dict[int, dict[str, str]] = field(default_factory=dict)
    n: int = 0
    k: int = 0
    t: int = 0
    graph: str = ""
    mode: str = ""
    corrupt: int = 0
    quorum: int | None = None
    confirmed: tuple[int, ...] = ()
    ring_bits: int = 0
    clip: float = 0.0
    max_weight: float = 0.0
    parameters: int = 0
    total_weight: float = 0.0
    clipped: int = 0
    saturated: int = 0
    error_bound: float = 0.0
    plan: EncodingPlan | None = field(default=None, repr=False)
    within: float | None = None
    privacy: DpRelease | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    trips: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_down: Counter[str] = field(default_factory=Counter)
    bytes_up: Counter[str] = field(default_factory=Counter)
    failure: str | None = None

    def sent(self, step: str, message: bytes, *, beside_bytes: int = 0) -> bytes:
        """Counts a message to a party and returns it."""
        self.bytes_down[step] += len(message) + beside_bytes
        return message

    def received(self, step: str, message: bytes, *, beside_bytes: int = 0) -> bytes:
        """Counts a message from a party and returns it."""
        self.bytes_up[step] += len(message) + beside_bytes
        return message

    @contextmanager
    def timed(self, step: str, now: Callable[[], float]) -> Iterator[None]:
        """Adds the time spent inside to the step."""
        start = now()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + now() - start

    def note_join(self, join: RoundReport, *, bytes_too: bool) -> None:
        """Notes the JOIN that came before, which another report has kept the books of."""
        self.trips += join.trips
        self.seconds |= join.seconds
        if bytes_too:
            self.bytes_down += join.bytes_down
            self.bytes_up += join.bytes_up

    def drop(self, node: int, drop: Drop) -> None:
        """Notes who is not in the sum, or left after it."""
        self.dropped[node] = {"step": drop.step, "reason": drop.reason.value, "detail": drop.detail}

    def note_parameters(self, parameters: Parameters, plan: EncodingPlan, epoch: int) -> None:
        """Notes what the round runs with."""
        self.epoch, self.n, self.k, self.t, self.graph = epoch, parameters.n, parameters.k, parameters.t, parameters.graph
        self.mode, self.corrupt, self.quorum = parameters.mode.value, parameters.corrupt, parameters.quorum
        self.plan = plan
        self.ring_bits, self.clip, self.max_weight, self.parameters = plan.ring_bits, plan.clip, plan.max_weight, plan.vector_length

    def note_result(self, result: DecodedSum, summed: tuple[int, ...]) -> None:
        """Notes what the round released."""
        self.summed, self.total_weight = summed, result.total_weight
        self.clipped, self.saturated = result.clipped, result.saturated
        self.error_bound, self.metrics, self.within = result.error_bound, dict(result.metrics), result.within

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values; node ids are strings, because JSON's numbers do not hold 64 bits everywhere.

        The error bound is rounded up to a power of two: the exact one tells the total weight.
        """
        entry = asdict(replace(self, plan=None, privacy=None))
        del entry["total_weight"], entry["plan"]
        entry["privacy"] = None if self.privacy is None else self.privacy.as_dict()
        entry["error_bound"] = 2.0 ** math.ceil(math.log2(self.error_bound)) if self.error_bound else 0.0
        for nodes in ("asked", "summed", "confirmed"):
            entry[nodes] = [str(node) for node in getattr(self, nodes)]
        entry["dropped"] = {str(node): drop for node, drop in self.dropped.items()}
        entry["seconds"] = {step: round(seconds, 4) for step, seconds in self.seconds.items()}
        entry["bytes_down"], entry["bytes_up"] = dict(self.bytes_down), dict(self.bytes_up)
        return entry
