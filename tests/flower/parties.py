"""Parties that lie: a mod around the real one, which alters what the party says and signs it again, since the key is its own.

A *lie* is a function of one message to a liar (`Lying`): it has the request, what an honest party would answer, the party's own state and
key, and whatever anybody said before. What it returns goes to the coordinator; what it raises becomes an error reply.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.clientapp import ClientApp

from stfed.crypto.identity import Identity
from stfed.flower import SecAggMod, SecureAggregation, records
from stfed.flower.events import RoundReport
from stfed.flower.store import SqliteStore
from stfed.secagg.client import ClientState
from stfed.secagg.messages import Header, Message
from stfed.secagg.record import Record
from stfed.secagg.server import DropReason
from stfed.secagg.signing import round_context, signed
from stfed.testing import InMemoryGrid
from stfed.testing.protocol import signing_key
from tests.flower import apps

M = TypeVar("M", bound=Message)
Lie = Callable[["Lying"], RecordDict]
Lies = Mapping[str, Lie]
"""By protocol step."""

# Why somebody is out, in the words of a report.
MALFORMED, ERROR = DropReason.MALFORMED.value, DropReason.ERROR_REPLY.value
BAD_SIGNATURE, WRONG_SHARE = DropReason.BAD_SIGNATURE.value, DropReason.WRONG_SHARE.value
DISPUTE, MISMATCH = DropReason.DISPUTE.value, DropReason.COMMITMENT_MISMATCH.value
OTHER_METRICS, EXCLUDED = DropReason.OTHER_METRICS.value, DropReason.EXCLUDED.value

MODEL = {"w": np.zeros((4, 3), np.float32), "count": np.zeros(3, np.int64)}
"""Small, and the mean of its integers is exact: no party can be missing, doubled or changed without another result."""


def weight_of(party: int) -> int:
    """Powers of two: the total weight says who is in the sum, and it is exact."""
    return 1 << party


def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
    """What an honest party does: floats move by noise, integers by a large number of the party and the round."""
    rng = np.random.default_rng(1000 * party + server_round)
    moved = {name: value + _change(rng, value) for name, value in arrays.items()}
    return moved, {"num-examples": weight_of(party), "train_loss": apps.loss_of(party, server_round)}


def _change(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind == "f":
        return rng.normal(0, 0.1, value.shape).astype(value.dtype)
    return rng.integers(-(1 << 30), 1 << 30, value.shape, dtype=value.dtype)


def evaluate(party: int, arrays: apps.Arrays, server_round: int) -> dict[str, Any]:
    return {"num-examples": weight_of(party), "eval_acc": apps.accuracy_of(party, server_round)}


def app_with(*mods: Any) -> ClientApp:
    """Honest functions behind these mods."""
    return apps.client_app(*mods, train=train, evaluate=evaluate)


# --- what must come out ------------------------------------------------------------------------------------------------------------------


def check_report(grid: InMemoryGrid, report: RoundReport, before: ArrayRecord, after: ArrayRecord) -> None:
    """The exact sum of whom the report names, or a reason and the model as it was."""
    if report.failure is not None:
        assert report.failure.strip()
        assert report.summed == ()
        assert report.phase != "train" or after is before
        return
    summed, round_ = apps.parties(grid, report.summed), int(report.server_round or 0)
    assert set(report.summed) <= set(report.asked)
    assert report.total_weight == sum(map(weight_of, summed)), "another set of parties than the report says"
    if report.phase == "evaluate":
        mean = sum(weight_of(party) * apps.accuracy_of(party, round_) for party in summed) / report.total_weight
        assert abs(report.metrics["eval_acc"] - mean) < 2.0**-25
        return
    wanted = apps.mean_of(summed, before, round_, train)
    found = apps.numpy_of(after)
    assert np.abs(found["count"] - wanted["count"]).max() <= 0.5 + 2.0**-16, "not the sum of these parties"
    allowed = report.error_bound + apps.rounding(len(summed), apps.record_of({"before": before["w"].numpy(), "after": wanted["w"]}))
    assert np.abs(found["w"] - wanted["w"]).max() <= allowed


def lost(grid: InMemoryGrid, report: RoundReport) -> dict[int, tuple[str, str]]:
    """Step and reason of every drop, by party."""
    return {grid.index(node): (drop["step"], drop["reason"]) for node, drop in report.dropped.items()}


# --- the liar ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class Lying:
    """One message to a liar.

    Attributes:
        party: its index in the grid.
        step: of the protocol.
        request: the coordinator's message.
        heard: everything that any party answered before, by party and step: liars work together, and one may be the coordinator's.
    """

    party: int
    step: str
    request: bytes
    heard: Mapping[tuple[int, str], list[RecordDict]]
    message: FlowerMessage
    state: ClientState | None
    _answer: Callable[[], RecordDict]
    _state: Callable[[], ClientState | None]
    _honest: RecordDict | None = field(default=None, init=False)

    def honest(self) -> RecordDict:
        """What the real mod answers; `state` is the one after it, except after UNMASK, which forgets the round."""
        if self._honest is None:
            self._honest = self._answer()
            if self.step != "unmask":
                self.state = self._state()
        return self._honest

    def said(self, kind: type[M]) -> M:
        """The protocol's message in it."""
        return kind.decode(records.message_of(self.honest()))

    @property
    def header(self) -> Header:
        state: Any = self.state
        return state.header

    @property
    def identity(self) -> Identity:
        return signing_key(self.party).ed25519

    @property
    def context(self) -> bytes:
        """What an honest party's signature in this step is bound to."""
        state: Any = self.state
        return round_context(state.facts) if self.step == "prepare" else bytes(state.transcript)

    def sign(self, message: M, context: bytes | None = None) -> M:
        return signed(message, self.identity, self.context if context is None else context)

    def place(self, party: int) -> int:
        """Directory index of a party."""
        state: Any = self.state
        directory, wanted = state.member.directory, signing_key(party).ed25519.public_bytes
        return next(index for index in range(len(directory)) if directory.join(index).identity == wanted)

    def slot(self, party: int) -> int:
        """Where a neighbour stands in what this party deals."""
        return [index for index in _cohort(self.state) if index != self.place(self.party)].index(self.place(party))

    def before(self, party: int | None = None) -> RecordDict:
        """What a party, by default this one, said last in this step; this round's honest reply if it is the first."""
        own = self.honest()
        known = self.heard.get((self.party if party is None else party, self.step), [])
        return known[-1] if known else own


def _cohort(state: Any) -> tuple[int, ...]:
    cohort: tuple[int, ...] = state.facts.cohort
    return cohort


class LyingMod:
    """The real mod, and liars behind it.

    Args:
        honest: what everybody runs.
        folder: where `honest` keeps its state.
        lies: by party, by step.
    """

    def __init__(self, honest: SecAggMod, folder: Path, lies: Mapping[int, Lies]) -> None:
        self._honest, self._folder, self._lies = honest, folder, lies
        self.heard: dict[tuple[int, str], list[RecordDict]] = defaultdict(list)
        self.states: dict[int, ClientState | None] = {}

    def __call__(self, message: FlowerMessage, context: Context, call_next: Any) -> FlowerMessage:
        party = int(context.node_config["partition-id"])
        named = records.describe(message)
        assert named is not None
        step, request = named[0], records.message_of(message.content)

        def answer() -> RecordDict:
            return self._honest(message, context, call_next).content

        def state() -> ClientState | None:
            return state_of(context, self._folder, message.metadata.run_id)

        try:
            if (lie := self._lies.get(party, {}).get(step)) is None:
                content = answer()
            else:
                content = lie(Lying(party, step, request, self.heard, message, state(), answer, state))
        finally:
            self.states[party] = state()
        self.heard[party, step].append(content)
        return FlowerMessage(content, reply_to=message)


def state_of(context: Context, folder: Path, run: int) -> ClientState | None:
    """A party's state as its store has it."""
    with SqliteStore.of(context, folder).transaction(run) as transaction:
        data = transaction.read()
    return None if data is None else Record.decode(data).state


@dataclass
class Trial:
    """A malicious run with liars in it, checked round by round.

    Attributes:
        reports: one for each round.
        lost: for each round, step and reason of every drop, by party.
        summed: for each round, the parties in the sum; None for a round that failed.
    """

    grid: InMemoryGrid
    strategy: SecureAggregation
    mod: LyingMod
    liars: frozenset[int]

    @property
    def reports(self) -> list[RoundReport]:
        return self.strategy.reports

    @property
    def lost(self) -> list[dict[int, tuple[str, str]]]:
        return [lost(self.grid, report) for report in self.reports]

    @property
    def summed(self) -> list[list[int] | None]:
        return [apps.parties(self.grid, report.summed) if report.failure is None else None for report in self.reports]

    def name(self, party: int) -> str:
        """How errors name it."""
        return f"node {self.grid.node(party).node_id} (party {party})"


def trial(
    lies: Mapping[int, Lies],
    *,
    n: int = 7,
    rounds: int = 3,
    grid: type[InMemoryGrid] = InMemoryGrid,
    between: Mapping[int, Callable[[Any], object]] | None = None,
    partitions: Sequence[int] = (),
    **settings: Any,
) -> Trial:
    """Runs it, with rounds that fail skipped, and checks what holds whatever the liars say.

    Args:
        lies: by party, by step.
        n: parties on the roster.
        rounds: how many.
        grid: an `InMemoryGrid`.
        between: called with the grid after a round.
        partitions: which party each node is, if there are other nodes than one a party.
        settings: the coordinator's; gamma and delta are the parties', too.

    - every round is the exact sum of whom it names, or a failure with a text and the model as it was;
    - no more honest parties lose their place than there are liars;
    - what an honest party did is never called wrong, and after the last round it has forgotten its secrets.
    """
    policy = {name: settings[name] for name in ("gamma", "delta") if name in settings}
    settings.setdefault("prepare_ahead", False)  # a lie is about one step; tests/flower/test_ahead.py has those about two in one message
    folder = apps.scratch()
    mod = LyingMod(apps.malicious_mod(n, folder=folder, **policy), folder, lies)
    who = list(partitions or range(n))
    parties = grid(app_with(mod), len(who), describe=records.describe, node_config=lambda index: {"partition-id": who[index]})
    recorder = apps.Recorder({round_: partial(action, parties) for round_, action in (between or {}).items()})
    strategy = apps.malicious(n, **{"on_failure": "skip", "max_weight": float(1 << n), **settings})
    strategy.start(parties, apps.record_of(MODEL), rounds, evaluate_fn=recorder)
    found = Trial(parties, strategy, mod, frozenset(lies))
    assert len(found.reports) == rounds
    for report, before, after in zip(found.reports, recorder.models, recorder.models[1:], strict=False):
        check_report(parties, report, before, after)
        _check_honest(found, report)
    if found.reports[-1].failure is None:
        honest = set(found.summed[-1] or ()) - found.liars
        done = {type(mod.states[party]).__name__ for party in honest}
        assert done == {"Ready"}, "an honest party still holds secrets of a round that is over"
    return found


def _check_honest(found: Trial, report: RoundReport) -> None:
    drops = {party: drop for party, drop in lost(found.grid, report).items() if party not in found.liars}
    blamed = {"no reply", ERROR, MALFORMED, WRONG_SHARE, BAD_SIGNATURE}
    assert not [drop for drop in drops.values() if drop[1] in blamed], drops
    # Who complains about bad shares has none to work with in this round; that is the price of the round, not of its place.
    out = {party for party, drop in drops.items() if drop[1] != DISPUTE}
    assert len(out) <= len(found.liars), f"{out} are out for {set(found.liars)}"


# --- lies that fit any step --------------------------------------------------------------------------------------------------------------


def saying(lying: Lying, message: bytes) -> RecordDict:
    """The honest reply with another message in it."""
    content: dict[str, Any] = dict(lying.honest())
    content[records.RECORD] = ConfigRecord({**content[records.RECORD], "message": message})
    return RecordDict(content)


def telling(kind: type[M], change: Callable[[Lying, M], M], *, sign: bool = True) -> Lie:
    """A lie about the content of a message: changed, and signed again."""

    def lie(lying: Lying) -> RecordDict:
        message = change(lying, lying.said(kind))
        return saying(lying, (lying.sign(message) if sign else message).encode())

    return lie


def bytewise(change: Callable[[bytes], bytes]) -> Lie:
    """A lie about the bytes of a message."""
    return lambda lying: saying(lying, change(records.message_of(lying.honest())))


def patched(owner: Any, name: str, value: Any) -> Lie:
    """An honest answer computed with one function changed."""

    def lie(lying: Lying) -> RecordDict:
        with patch.object(owner, name, value):
            return lying.honest()

    return lie


def silent(lying: Lying) -> RecordDict:
    """Does its work and then answers with an error."""
    lying.honest()
    raise RuntimeError("a liar that will not answer")


def refusing(lying: Lying) -> RecordDict:
    """Does not even look."""
    raise RuntimeError("a liar that will not answer")


def once(lie: Lie, at: int = 1) -> Lie:
    """Lies the `at`-th time only."""
    times = 0

    def sometimes(lying: Lying) -> RecordDict:
        nonlocal times
        times += 1
        return lie(lying) if times == at else lying.honest()

    return sometimes


def other_header(header: Header) -> Header:
    return replace(header, round=header.round + 1)


def everybody_but(*absent: int, n: int = 7) -> list[int]:
    return [party for party in range(n) if party not in absent]
