"""PREPARE: between rounds, and the step that commits to the secrets of the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from stfed.crypto.random import Entropy
from stfed.encoding import EncodingPlan
from stfed.secagg.client.dealing import Places, deal
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.prepared import Prepared
from stfed.secagg.client.state import ClientState
from stfed.secagg.messages import (
    Header,
    Prepare,
    PrepareRequest,
)
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    DirectoryError,
    NotAMemberError,
    RoundOrderError,
    WrongRoundError,
)
from stfed.secagg.roster import MemberRoster
from stfed.secagg.transcript import RoundFacts, mode_from
from stfed.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class Ready(ClientState):
    """Between rounds: the pairwise keys, and nothing of any round."""

    TAG: ClassVar[int] = 2
    member: Membership
    keys: PairwiseKeys

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.member.directory.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(Membership.read(reader), PairwiseKeys.read(reader))

    def prepare(
        self, request: PrepareRequest, policy: Policy, entropy: Entropy, roster: MemberRoster | None = None
    ) -> tuple[Prepared, Prepare]:
        """Commits to the secrets of a round and deals their shares to the neighbours.

        Args:
            request: the coordinator's message.
            policy: this party's own; checked here, not only when the run began.
            entropy: where b, z, the coefficients and the nonces come from.
            roster: who may be in the cohort, in malicious mode.

        Returns:
            The next state and the reply.

        Raises:
            RefusedError: one kind for each rule of `docs/protocol.md` that the request breaks.
        """
        if request.directory:
            raise DirectoryError("a second directory in one epoch: the first one stands")
        return self._prepare(request, policy, entropy, roster)

    def _prepare(self, request: PrepareRequest, policy: Policy, entropy: Entropy, roster: MemberRoster | None) -> tuple[Prepared, Prepare]:
        facts = self._check(request, policy, roster)
        header, own = facts.header, self.member.index
        places = Places.of(facts, own, entropy)
        ratcheted, round_keys = self.keys.step(header.round, places.neighbours, self.member)
        dealt = deal(facts, own, places, round_keys, entropy)
        holders = places.holders if facts.drawn else ()
        state = Prepared(self.member, ratcheted, facts, places.neighbours, dealt.self_seed, dealt.seeds, dealt.incoming, holders)
        return state, dealt.prepare

    def _check(self, request: PrepareRequest, policy: Policy, roster: MemberRoster | None) -> RoundFacts:
        directory, own = self.member.directory, self.member.index
        header = request.header
        if (header.run, header.epoch, header.suite) != (directory.header.run, directory.header.epoch, directory.header.suite):
            raise WrongRoundError("PREPARE belongs to another run, epoch or suite than the one this party joined")
        policy.check_mode(mode_from(request.mode))
        policy.check_mode(directory.mode)
        check_round_order(header.round, self.keys.next_round, policy)
        if own not in request.cohort:
            raise NotAMemberError("this party is not in the cohort it is asked to prepare for")
        directory.check_known(request.cohort, "the cohort")
        directory.check_members(roster, request.cohort)
        policy.check_cohort(len(request.cohort))
        policy.check_parameters(len(request.cohort), request.k, request.t)
        policy.check_plan(EncodingPlan.decode(request.plan), len(request.cohort), request.k)
        return RoundFacts.of(request, directory.cohort_digest(request.cohort))


def check_round_order(round_: int, next_round: int, policy: Policy) -> None:
    """Refuses a round number that is not new, or that skips so far that the ratchet would be a denial of service."""
    if round_ < next_round:
        raise RoundOrderError(f"round {round_} was used before or is older than one that was; the next one is {next_round}")
    if round_ - next_round > policy.max_skipped_rounds:
        raise RoundOrderError(f"round {round_} skips {round_ - next_round} rounds, this party allows {policy.max_skipped_rounds}")
    policy.check_round(round_)
