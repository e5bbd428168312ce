"""PREPARE: between rounds, and the step that commits to the secrets of the next one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, Self

from stfed.crypto import aead, shamir
from stfed.crypto.random import Entropy
from stfed.encoding import EncodingPlan
from stfed.secagg import keys
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.prepared import Prepared
from stfed.secagg.client.state import ClientState
from stfed.secagg.messages import (
    DealtShares,
    Header,
    Prepare,
    PrepareRequest,
    ShareOf,
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

_BOX_NONCE = bytes(aead.NONCE_BYTES)


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
            RefusedError: one kind for each rule of `protocol.md` that the request breaks.
        """
        if request.directory:
            raise DirectoryError("a second directory in one epoch: the first one stands")
        return self._prepare(request, policy, entropy, roster)

    def _prepare(self, request: PrepareRequest, policy: Policy, entropy: Entropy, roster: MemberRoster | None) -> tuple[Prepared, Prepare]:
        facts = self._check(request, policy, roster)
        header, own = facts.header, self.member.index
        graph = facts.graph()
        position = facts.cohort.index(own)
        neighbours = tuple(facts.cohort[other] for other in graph.neighbours(position))
        ratcheted, round_keys = self.keys.step(header.round, neighbours, self.member)
        seeds, outgoing, incoming = zip(*keys.neighbour_keys(round_keys, header, facts.cohort_digest, own), strict=True)

        secrets = shamir.random_secrets(2, entropy)
        self_seed, box_secret = shamir.rows_to_bytes(secrets)
        shares_b, shares_z = map(shamir.rows_to_bytes, shamir.share(secrets, facts.t, range(1, facts.k + 1), entropy))
        commit_b = keys.commit_self_seed(self_seed, header, own)
        commit_z = keys.commit_box_key(box_secret, header, own)
        box = aead.seal(keys.box_key(box_secret, header, own), _BOX_NONCE, b"".join(seeds), keys.box_associated_data(header, own))
        hashes_b = keys.share_hashes(zip(repeat(own), neighbours, shares_b), ShareOf.SELF_SEED, header)
        hashes_z = keys.share_hashes(zip(repeat(own), neighbours, shares_z), ShareOf.BOX_KEY, header)
        commits_s = [keys.commit_pairwise_seed(seed, header, own, other) for other, seed in zip(neighbours, seeds, strict=True)]
        public = list(zip(hashes_b, hashes_z, commits_s, strict=True))
        commitments = keys.commitments_digest(header, own, commit_b, commit_z, box, public)
        dealt = tuple(
            DealtShares(
                aead.seal_random(
                    key,
                    share_b + share_z,
                    keys.share_associated_data(header, own, other, point, facts.t, facts.k, commitments),
                    entropy,
                ),
                *hashes,
            )
            for point, (other, key, share_b, share_z, hashes) in enumerate(
                zip(neighbours, outgoing, shares_b, shares_z, public, strict=True), start=1
            )
        )
        state = Prepared(self.member, ratcheted, facts, neighbours, self_seed, seeds, incoming)
        return state, Prepare(header=header, commit_self_seed=commit_b, commit_box_key=commit_z, box=box, dealt=dealt)

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
        policy.check_plan(EncodingPlan.decode(request.plan), len(request.cohort))
        return RoundFacts.of(request, directory.cohort_digest(request.cohort))


def check_round_order(round_: int, next_round: int, policy: Policy) -> None:
    """Refuses a round number that is not new, or that skips so far that the ratchet would be a denial of service."""
    if round_ < next_round:
        raise RoundOrderError(f"round {round_} was used before or is older than one that was; the next one is {next_round}")
    if round_ - next_round > policy.max_skipped_rounds:
        raise RoundOrderError(f"round {round_} skips {round_ - next_round} rounds, this party allows {policy.max_skipped_rounds}")
