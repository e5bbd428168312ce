"""`Opening`: a round from its first PREPARE to U1, whether PREPARE has a message of its own or rides on the UNMASK of the round before."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from flwr.app import RecordDict

from stfed.encoding import EncodingPlan
from stfed.flower import records
from stfed.flower.roll import Roll
from stfed.flower.settings import Settings
from stfed.flower.talk import one_line
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import Mode, Parameters
from stfed.secagg.server import Collecting, Enrolment, Preparing
from stfed.secagg.transcript import RoundFacts


@dataclass(slots=True)
class Opening:
    """What PREPARE of one round asks, and what it is answered.

    Attributes:
        enrolment: of the epoch that the round is in.
        preparing: the protocol's step.
        parameters: the cohort's.
        plan: how the vectors are encoded.
        opened_at: seconds, on the courier's clock.
        run_config: digest of the run config that the parties of U1 have; known when it is closed.
    """

    enrolment: Enrolment
    preparing: Preparing
    parameters: Parameters
    plan: EncodingPlan
    opened_at: float
    _roll: Roll
    _file: BinaryIO | None
    run_config: bytes = b""
    _run_configs: dict[int, bytes] = field(default_factory=dict)
    _answered: set[int] = field(default_factory=set)
    _encoded: dict[bool, bytes] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        roll: Roll,
        settings: Settings,
        enrolment: Enrolment,
        parameters: Parameters,
        plan: EncodingPlan,
        facts: RoundFacts,
        opened_at: float,
    ) -> Opening:
        """The round of these facts (`facts_for`)."""
        floor = settings.floor(parameters.n, parameters.k, roll.roster_size)
        corrupt = parameters.corrupt if settings.mode is Mode.MALICIOUS else None
        # Where parties draw their holders, what they say takes 48 n^2 bytes, all of it public.
        file = tempfile.TemporaryFile() if facts.drawn else None  # noqa: SIM115 - `done` closes it
        preparing = Preparing(facts, roll.names(), floor, directory=enrolment.directory, corrupt=corrupt, file=file)
        return cls(enrolment, preparing, parameters, plan, opened_at, roll, file)

    @property
    def round(self) -> int:
        """The protocol's round number."""
        return self.preparing.facts.header.round

    @property
    def cohort(self) -> tuple[int, ...]:
        """Directory indices, ascending."""
        return self.preparing.facts.cohort

    def fits(self, facts: RoundFacts) -> bool:
        """Whether this is the round of these facts, whatever number they have."""
        return numbered(facts, self.round) == self.preparing.facts

    def request(self, index: int) -> bytes:
        """The message for a party, made once with the directory, which grows with the parties, and once without."""
        directory = self._roll.directory_for(self.enrolment.nodes[index])
        if bool(directory) not in self._encoded:
            self._encoded[bool(directory)] = self.preparing.request(directory).encode()
        return self._encoded[bool(directory)]

    def take(self, index: int, message: bytes, content: RecordDict) -> None:
        """Takes a party's reply.

        Raises:
            DecodeError: it does not say which run config the party has.
        """
        self._run_configs[index] = records.run_config_of(content)
        self._answered.add(index)
        self.preparing.add(index, message)
        self._roll.directory_arrived(self.enrolment.nodes[index])

    def fail(self, index: int, detail: str) -> None:
        """The party answered with an error, or with none of our replies."""
        self._answered.add(index)
        self.preparing.fail(index, one_line(detail))

    def stumbled(self, index: int) -> None:
        """The party has no good reply to a PREPARE that came with something else: it is asked once more, by itself.

        That is when it is dropped by name, or makes good a reply that was lost. Had it to join again at once, one party could make all
        others join in every round, and nobody would be told.
        """
        self._answered.add(index)

    def answered(self, index: int) -> bool:
        """Whether the party has answered, well or not."""
        return index in self._answered

    def open(self) -> tuple[int, ...]:
        """Who has yet to say whether it prepares."""
        return tuple(index for index in self.cohort if index not in self._run_configs and index not in self.preparing.drops)

    def done(self) -> None:
        """The round is over, or will not be."""
        if self._file is not None:
            self._file.close()

    def note_absent(self, indices: Container[int]) -> None:
        """Those of these parties that do not prepare have to join again."""
        for index, drop in self.preparing.drops.items():
            if index in indices:
                self._roll.mark_absent(self.enrolment.nodes[index], drop)

    def close(self, bound: Callable[[bytes], bytes]) -> Collecting:
        """Fixes U1, of the parties that have the most frequent run config.

        Args:
            bound: what goes into the transcript, by the digest of the parties' run config.

        Raises:
            QuorumError: U1 is below the floor.
        """
        self.run_config = _most_frequent(self._run_configs.values())
        for index, digest in self._run_configs.items():
            if digest != self.run_config:
                self.preparing.leave_out(index, "its run config is not that of the others")
        try:
            collecting = self.preparing.close(bound(self.run_config))
            for index in collecting.alive:
                self._roll.mark_well(self.enrolment.nodes[index])
            return collecting
        finally:
            self.note_absent(self.cohort)


def facts_for(
    settings: Settings, enrolment: Enrolment, parameters: Parameters, plan: EncodingPlan, phase: Phase, nodes: Iterable[int], run: int
) -> RoundFacts:
    """What PREPARE fixes about a round with a cohort of these nodes, but for its number, which is 0."""
    directory, index_of = enrolment.directory, enrolment.index_of()
    cohort = tuple(sorted(index_of[node] for node in nodes))
    header = Header(run, directory.header.epoch, 0, directory.header.suite)
    digest = directory.cohort_digest(cohort)
    return RoundFacts(header, phase, settings.mode, parameters.k, parameters.t, plan.encode(), cohort, digest)


def numbered(facts: RoundFacts, round_: int) -> RoundFacts:
    """The same facts of the round with this number."""
    return replace(facts, header=replace(facts.header, round=round_))


def _most_frequent(digests: Iterable[bytes]) -> bytes:
    """Of equally frequent ones the smallest; what the parties say about their run config is in their own transcripts, whatever is taken."""
    counts = Counter(digests)
    return min(counts, key=lambda digest: (-counts[digest], digest), default=b"")
