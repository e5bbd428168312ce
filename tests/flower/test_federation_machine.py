"""Random schedules of everything that goes wrong without anybody lying, and of what somebody on the way can do, over several rounds.

A schedule is a list of mishaps (Hypothesis writes it and, when a test fails, shortens it). Whatever it says, every round ends as the exact
sum of the parties that it names, or as a clean failure: a reason, and the model as it was. Nothing else, no other exception, no second
answer of a party to one step of one round. When the weather has cleared everybody who is not gone for good is in the sum again.

Three layers do the damage, and none of them knows the protocol: the `FaultPlan` of the grid loses, delays, doubles and repeats messages;
`StormyGrid` reorders them, changes bytes, swaps replies, lets old requests arrive again and kills the coordinator; `StormyMod` is a
party's machine, with a process that dies at a bad moment and a disk and a memory that are lost or put back from a copy.
"""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp.strategy import FedAvg
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from stfed.errors import DecodeError
from stfed.flower import SecAggMod, SecureAggregation, records
from stfed.flower.events import RoundReport
from stfed.flower.store import FILE_NAME
from stfed.secagg.messages import Kind, peek
from stfed.secagg.params import Mode
from stfed.testing import Fault, FaultPlan, InMemoryGrid
from stfed.testing.faults import Action
from stfed.testing.parcel import flip, pack, unpack
from stfed.testing.protocol import roster_of
from tests.flower import apps
from tests.flower.parties import MODEL, app_with, check_report

N = {Mode.SEMI_HONEST: 5, Mode.MALICIOUS: 6}
STORMY = 3
"""Rounds with mishaps, in a random schedule."""
QUIET = 2 + 2 ** (STORMY + 1)
"""Rounds without, at most, until all are back: a party that failed f times in a row is asked to join again after 2^(f-1) - 1 rounds."""
LIGHT_S, TRAIN_S = 60.0, 100.0

NETWORK = tuple(action for action in get_args(Action) if action != "tamper")
ON_THE_WAY = ("change request", "change reply", "swap reply")
MACHINE = ("dies after", "dies training", "forgets", "loses disk", "old disk", "old memory", "old machine")
LOST = ("forgets", "loses disk", "old disk", "old machine")
"""After which a party has to join again."""
HARMLESS = ("duplicate", "replay", "stray")
"""What costs nobody anything."""


@dataclass(frozen=True)
class Mishap:
    """One thing that goes wrong.

    Attributes:
        what: an action of a `FaultPlan`, or one of the above.
        attempt: in which round, from 1, however far that one gets.
        party, step: with whose message.
        amount: which byte, which old message, which copy; how long a delay.
    """

    what: str
    attempt: int
    party: int
    step: str
    amount: int = 0


class CoordinatorDied(BaseException):
    """A ServerApp that was killed between two messages."""


class PartyDied(Exception):
    """A ClientApp that was killed."""


def described(message: Message) -> tuple[str, int] | None:
    """`records.describe`, which refuses a message that was changed beyond recognition."""
    try:
        return records.describe(message)
    except DecodeError:
        return None


class Weather:
    """The mishaps of a run, by where they strike, and how far the run is."""

    def __init__(self, mishaps: Iterable[Mishap]) -> None:
        self.mishaps, self.attempt = tuple(mishaps), 0

    def here(self, party: int, step: str) -> list[Mishap]:
        return [mishap for mishap in self.mishaps if (mishap.attempt, mishap.party, mishap.step) == (self.attempt, party, step)]

    def describe(self, message: Message) -> tuple[str, int] | None:
        """The step and the attempt: a `FaultPlan` that counts attempts strikes in each, whatever number the round has."""
        named = described(message)
        return None if named is None else (named[0], self.attempt)

    def plan(self) -> FaultPlan:
        """What the grid can do itself."""
        return FaultPlan(tuple(_fault(mishap) for mishap in self.mishaps if mishap.what in (*NETWORK, "gone")))


def _fault(mishap: Mishap) -> Fault:
    where: dict[str, Any] = {"node": mishap.party, "step": mishap.step, "round": mishap.attempt}
    if mishap.what == "gone":
        return Fault("drop-reply", permanent=True, **where)
    if mishap.what == "delay":
        return Fault("delay", delay_s=(10.0, 1e6)[mishap.amount % 2], **where)
    return Fault(mishap.what, **where)  # type: ignore[arg-type]


# --- the way between the two ends --------------------------------------------------------------------------------------------------------


class StormyGrid(InMemoryGrid):
    """Sends and delivers in any order, and does what `ON_THE_WAY` says.

    Args:
        weather: what goes wrong.
        order: seeds the order of messages.
        vectors: whether masked vectors are changed as well; without signatures nobody could tell.
    """

    def __init__(self, weather: Weather, app: Any, order: int, *, vectors: bool, **options: Any) -> None:
        super().__init__(app, describe=weather.describe, faults=weather.plan(), **options)
        self._weather, self._random, self._vectors = weather, random.Random(order), vectors
        self._sent: dict[int, list[Message]] = defaultdict(list)
        self._asked: dict[str, tuple[int, str]] = {}
        self._replies: list[RecordDict] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        ids = [""] * len(messages)
        for at in self._random.sample(range(len(messages)), len(messages)):
            ids[at] = self._push_one(messages[at])
        return ids

    def _push_one(self, message: Message) -> str:
        named = described(message)
        party, step = self.index(message.metadata.dst_node_id), named[0] if named else ""
        for mishap in self._weather.here(party, step):
            if mishap.what == "coordinator dies":
                raise CoordinatorDied
            if mishap.what == "stray" and (old := self._sent[party]):
                self.node(party).answer(pack(old[mishap.amount % len(old)]))
            if mishap.what == "change request":
                message = changed(message, mishap.amount)
        self._sent[party].append(message)
        [id_] = super().push_messages([message])
        self._asked[id_] = party, step
        return id_

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = [self._on_its_way(reply) for reply in super().pull_messages(message_ids)]
        return self._random.sample(replies, len(replies))

    def _on_its_way(self, reply: Message) -> Message:
        if not reply.has_content():
            return reply
        own = reply.content
        for mishap in self._weather.here(*self._asked[reply.metadata.reply_to_message_id]):
            if mishap.what == "change reply":
                reply = changed(reply, mishap.amount, None if self._vectors else records.RECORD)
            if mishap.what == "swap reply" and self._replies:
                reply.content = self._replies[mishap.amount % len(self._replies)]
        self._replies.append(own)
        return reply


def changed(message: Message, amount: int, record: str | None = None) -> Message:
    """The message with one bit of its bytes flipped."""
    parcel = pack(message)
    size = 0
    for name, content in message.content.items():
        if record in (None, name):
            leaves = content.values()
            size += sum(len(leaf) if isinstance(leaf, bytes) else len(getattr(leaf, "data", b"")) for leaf in leaves)
    return unpack(flip(parcel, position=amount % size, xor=1 << amount % 8, record=record)) if size else message


# --- a party's machine -------------------------------------------------------------------------------------------------------------------

Memory = dict[str, dict[str, Any]]


class StormyMod:
    """The real mod in a process that dies, on a machine whose disk and memory are lost or put back.

    Attributes:
        answers: what each party said in each step of each round, by kind, epoch and round.
    """

    def __init__(self, honest: SecAggMod, weather: Weather, folders: Sequence[Path]) -> None:
        self._honest, self._weather, self._folders = honest, weather, folders
        self._copies: dict[int, list[tuple[bytes, Memory]]] = defaultdict(list)
        self.answers: dict[tuple[int, Kind, int, int], set[bytes]] = defaultdict(set)

    def __call__(self, message: Message, context: Context, call_next: Any) -> Message:
        party = int(context.node_config["partition-id"])
        named = described(message)
        here = self._weather.here(party, named[0]) if named else []
        self._damage(here, party, context)
        before = _memory(context)
        died = [mishap.what for mishap in here if mishap.what.startswith("dies")]
        if "dies training" in died:
            call_next = _dies
        try:
            reply = self._honest(message, context, call_next)
            data = records.message_of(reply.content)
            kind, header = peek(data)
            self.answers[party, kind, header.epoch, header.round].add(data)
        finally:
            if died:
                _put(context, before)  # Flower writes the Context when the app is done
        if died:
            raise PartyDied
        return reply

    def _damage(self, here: Iterable[Mishap], party: int, context: Context) -> None:
        file = self._folders[party] / FILE_NAME
        copies = self._copies[party]
        copies.append((file.read_bytes() if file.exists() else b"", _memory(context)))
        for mishap in here:
            disk, memory = copies[mishap.amount % len(copies)]
            if mishap.what == "forgets":
                context.state.clear()
            if mishap.what == "loses disk":
                shutil.rmtree(self._folders[party])
            if mishap.what in ("old disk", "old machine") and disk:
                file.write_bytes(disk)
            if mishap.what in ("old memory", "old machine"):
                _put(context, memory)


def _dies(message: Message, context: Context) -> Message:
    raise PartyDied


def _memory(context: Context) -> Memory:
    return {name: dict(record) for name, record in context.state.items()}


def _put(context: Context, memory: Memory) -> None:
    context.state.clear()
    for name, values in memory.items():
        context.state[name] = ConfigRecord(values)


# --- a run -------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """All of a run.

    Attributes:
        order: seeds the order in which messages cross.
        evaluates: whether every round evaluates, too: a sum of its own.
    """

    mode: Mode
    mishaps: tuple[Mishap, ...]
    order: int = 0
    evaluates: bool = False

    @property
    def n(self) -> int:
        return N[self.mode]

    @property
    def stormy(self) -> int:
        """The last round with a mishap."""
        return max(mishap.attempt for mishap in self.mishaps)

    @property
    def disowned(self) -> set[int]:
        """Whom somebody on the way can put out for the rest of a run.

        A request is not signed: one with a round number or an epoch from the future uses up all the numbers before it.
        """
        return {mishap.party for mishap in self.mishaps if mishap.what == "change request"}

    def struck(self, attempt: int) -> set[int]:
        """Whom something happened to that may cost a party a round, in this attempt or before: what it lost it may not have back yet."""
        in_time = [m for m in self.mishaps if m.what == "delay" and m.amount % 2 == 0]
        return {m.party for m in self.mishaps if m.attempt <= attempt and m.what not in HARMLESS and m not in in_time}

    @property
    def tame(self) -> bool:
        """Nobody changes messages, and the coordinator lives: then the innocent have nothing to lose."""
        return not any(mishap.what in (*ON_THE_WAY, "coordinator dies") for mishap in self.mishaps)


class Run:
    """Plays a schedule and checks it as it goes.

    Attributes:
        summed: for each attempt, the parties in its (last) sum; None where it failed.
        story: every sum in a line, for whoever reads a failure.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.weather = schedule, Weather(schedule.mishaps)
        malicious = schedule.mode is Mode.MALICIOUS
        n = schedule.n
        folders = [apps.scratch() for _ in range(n)]
        mods = [apps.malicious_mod(n, folder=folder) if malicious else apps.secure_mod(folder) for folder in folders]
        machines = [StormyMod(mod, self.weather, folders) for mod in mods]
        self.machines = machines
        self.grid = StormyGrid(
            self.weather, lambda index: app_with(machines[index]), schedule.order, vectors=malicious, num_nodes=n, keep_payloads=False
        )
        self._options = {"mode": "malicious", "roster": roster_of(n)} if malicious else {}
        self._journal = apps.scratch() / "journal.sqlite"
        self._model = apps.record_of(MODEL)
        self.summed: list[set[int] | None] = []
        self.story: list[str] = []

    def strategy(self) -> SecureAggregation:
        """A coordinator: a new one after each death, with the journal of the last."""
        few = {"min_available_nodes": 1, "min_train_nodes": 1, "min_evaluate_nodes": 1}
        inner = FedAvg(fraction_evaluate=1.0 if self.schedule.evaluates else 0.0, **few)
        heaviest = float(1 << self.schedule.n)
        return apps.secure(inner, on_failure="skip", light_timeout_s=LIGHT_S, journal=self._journal, max_weight=heaviest, **self._options)

    def play(self) -> None:
        """The storm, then quiet rounds until all are back."""
        while not self._over():
            self._live()
        assert self._all_back(), f"after {QUIET} quiet rounds only {self.summed[-1]} take part"
        for machine in self.machines:
            self._check_answers(machine)

    def _over(self) -> bool:
        quiet = self.weather.attempt - 1 - self.schedule.stormy
        return quiet >= QUIET or (quiet >= 1 and self._all_back())

    def _all_back(self) -> bool:
        """Everybody who is not gone for good takes part."""
        present = {self.grid.index(node) for node in self.grid.get_node_ids()}
        return (self.summed[-1] or set()) >= present - self.schedule.disowned

    def _live(self) -> None:
        """One coordinator's life: until it dies, or one round after another until all are back."""
        strategy, start = self.strategy(), self.weather.attempt
        config = ConfigRecord({"coordinator": start})  # another one than before: a party does not train on the very same twice
        checked = 0

        def after(server_round: int, arrays: Any) -> None:
            nonlocal checked
            for report in strategy.reports[checked:]:
                self._check(report, arrays)
            if strategy.reports[checked:]:
                self.summed.append(self._summed(strategy.reports[-1]))
            checked, self._model = len(strategy.reports), arrays
            self.weather.attempt += 1
            if self.summed and self._over():
                raise _Done

        try:
            strategy.start(self.grid, self._model, 100, timeout=TRAIN_S, train_config=config, evaluate_fn=after)
        except _Done:
            pass
        except CoordinatorDied:
            self.summed.append(None)

    def _summed(self, report: RoundReport) -> set[int] | None:
        return None if report.failure is not None else {self.grid.index(node) for node in report.summed}

    def _check(self, report: RoundReport, after: Any) -> None:
        attempt, summed = self.weather.attempt, self._summed(report)
        self.story.append(f"attempt {attempt}, round {report.round}: {report.failure or sorted(summed or ())}")
        check_report(self.grid, report, self._model, after)
        struck = self.schedule.struck(attempt)
        if self.schedule.tame:
            innocent = {self.grid.index(node) for node in report.asked} - struck
            assert summed is not None or len(struck) > 1, f"one struck party cost the round: {report.failure}"
            assert summed is None or innocent <= summed, f"{innocent - summed} are out for nothing: {report.dropped}"

    def _check_answers(self, machine: StormyMod) -> None:
        put_back = {mishap.party for mishap in self.schedule.mishaps if mishap.what in ("loses disk", "old disk", "old machine")}
        twice = {key for key, replies in machine.answers.items() if len(replies) > 1 and key[0] not in put_back}
        assert not twice, "a party said two things in one step of one round"


class _Done(Exception):
    """Nothing more to see."""


# --- schedules ---------------------------------------------------------------------------------------------------------------------------

WEATHER = (*NETWORK, "gone", "stray", *MACHINE, "coordinator dies")
ATTACKED = (*ON_THE_WAY, *WEATHER)
both_modes = pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)


def steps(mode: Mode) -> tuple[str, ...]:
    return ("join", "prepare", "train", *(("confirm",) if mode is Mode.MALICIOUS else ()), "unmask")


def schedules(mode: Mode, kinds: Sequence[str], most: int = 8) -> st.SearchStrategy[Schedule]:
    mishap = st.builds(
        Mishap,
        what=st.sampled_from(kinds),
        attempt=st.integers(1, STORMY),
        party=st.integers(0, N[mode] - 1),
        step=st.sampled_from(steps(mode)),
        amount=st.integers(0, 2000),
    )
    return st.builds(
        Schedule,
        mode=st.just(mode),
        mishaps=st.lists(mishap, min_size=1, max_size=most).map(tuple),
        order=st.integers(0, 1 << 16),
        evaluates=st.integers(0, 3).map(lambda drawn: drawn == 0),
    )


def play_any(mode: Mode, kinds: Sequence[str], examples: int) -> None:
    """The same schedules in every run, so that a red one is red for everybody."""

    @settings(max_examples=examples, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(schedules(mode, kinds))
    def play(schedule: Schedule) -> None:
        run = Run(schedule)
        try:
            run.play()
        finally:
            note("\n".join(run.story))

    play()


@both_modes
def test_whatever_is_lost_late_doubled_or_dead_the_sum_is_exact_or_there_is_none(mode: Mode) -> None:
    play_any(mode, WEATHER, 14 if mode is Mode.SEMI_HONEST else 10)


@both_modes
def test_whatever_somebody_on_the_way_changes_the_sum_is_exact_or_there_is_none(mode: Mode) -> None:
    play_any(mode, ATTACKED, 14 if mode is Mode.SEMI_HONEST else 10)


@both_modes
@pytest.mark.parametrize("what", [what for what in ATTACKED if what != "gone"])
def test_one_party_with_one_mishap_in_each_step_never_costs_a_round(mode: Mode, what: str) -> None:
    """A step a round; what a machine loses shows in the round after, so there it is a step every other round.

    Where nothing is signed, in semi-honest mode, a changed byte may cost a round; and a coordinator that dies takes its round with it.
    """
    gap = 2 if what in LOST else 1
    struck = tuple(Mishap(what, 1 + gap * at, at + 1, step, 97 * at) for at, step in enumerate(steps(mode)))
    run = Run(Schedule(mode, struck))
    run.play()
    excused = what == "coordinator dies" or (what in ON_THE_WAY and mode is Mode.SEMI_HONEST)
    assert excused or None not in run.summed, run.story
