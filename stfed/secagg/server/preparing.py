"""PREPARE: commitments, boxes and shares; who of the cohort can go on is U1."""

from __future__ import annotations

from collections.abc import Sequence

from stfed.crypto.identity import BadSignatureError
from stfed.encoding import EncodingPlan
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.secagg.directory import Directory
from stfed.secagg.messages import (
    Prepare,
    PrepareRequest,
)
from stfed.secagg.server.collecting import Collecting
from stfed.secagg.server.disputes import settle, worst_first
from stfed.secagg.server.drops import DropReason
from stfed.secagg.server.step import Round, RoundStep
from stfed.secagg.signing import round_context
from stfed.secagg.transcript import RoundFacts


class Preparing(RoundStep):
    """Collects commitments, boxes and shares.

    Args:
        facts: what PREPARE fixes.
        names: how errors name the parties, by directory index.
        floor: the fewest parties that U1 and U2 may have.
        directory: whose identities the replies are checked with; required in malicious mode.
        corrupt: C (`Parameters.corrupt`), which the quorum of CONFIRM follows from; required in malicious mode.
    """

    def __init__(
        self, facts: RoundFacts, names: Sequence[str], floor: int, *, directory: Directory | None = None, corrupt: int | None = None
    ) -> None:
        if (sized := EncodingPlan.decode(facts.plan).parties) != facts.n:
            raise LocalError(f"the encoding is sized for {sized} parties, the cohort has {facts.n}")
        self._round = Round(facts, names, floor, directory, corrupt)
        self._context = round_context(facts) if self._round.malicious else b""
        self._prepares: dict[int, Prepare] = {}

    def request(self, directory: tuple[bytes, ...] = ()) -> PrepareRequest:
        """The message for a party; `directory` goes with its first one of an epoch."""
        return self.facts.request(directory)

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error."""
        if self._waits_for(party):
            self._round.drop(party, "prepare", DropReason.ERROR_REPLY, detail)

    def _waits_for(self, party: int) -> bool:
        """The first answer of a member of the cohort counts, and no other."""
        return party in self._round.links.place and party not in self._prepares and party not in self.drops

    def add(self, party: int, data: bytes) -> None:
        """Takes one PREPARE. The first one counts."""
        if not self._waits_for(party):
            return
        try:
            prepare = self._round.links.decode(party, data)
            if prepare.header != self.facts.header:
                raise DecodeError("it belongs to another round")
            self._round.check_signature(prepare, party, self._context)
        except (DecodeError, BadSignatureError) as error:
            self._round.drop_for(party, "prepare", error)
            return
        self._prepares[party] = prepare
        self._round.links.add(party, prepare)

    def close(self, content: bytes) -> Collecting:
        """Fixes U1: who prepared, agrees with its neighbours, and still has t share-holders.

        Args:
            content: 32-byte hash of the model and config that TRAIN will carry.

        Raises:
            QuorumError: U1 is below the floor.
        """
        self._close_once()
        for party in self.facts.cohort:
            if party not in self._prepares:
                self._round.drop(party, "prepare", DropReason.NO_REPLY)
        alive = {party for party in self._prepares if party not in self.drops}
        alive -= self._contradicted(alive)
        alive -= self._abandoned(alive)
        if len(alive) < self._round.floor:
            gone = set(self.facts.cohort) - alive
            raise QuorumError(
                f"{len(alive)} of {self.facts.n} parties are left after PREPARE, {self._round.floor} are needed "
                f"({self._round.described(gone)})",
                missing=self._round.missing(gone),
            )
        return Collecting(self._round, {party: self._prepares[party] for party in sorted(alive)}, content)

    def _contradicted(self, alive: set[int]) -> set[int]:
        """Parties to drop so that no two neighbours left publish different commitments to their seed."""
        prepares, links = self._prepares, self._round.links
        mismatches = {
            (party, other)
            for party in alive
            for other in links.neighbours(party)
            if party < other
            and other in alive
            and links.seed_commitment(party, prepares[party], other) != links.seed_commitment(other, prepares[other], party)
        }
        corrupt = self._round.corrupt
        dropped = worst_first(mismatches) if corrupt is None else settle(mismatches, corrupt)
        for party, most in dropped.items():
            self._round.drop(party, "prepare", DropReason.COMMITMENT_MISMATCH, f"{most} neighbours published another commitment")
        return set(dropped)

    def _abandoned(self, alive: set[int]) -> set[int]:
        """Parties with fewer than t share-holders alive; dropping one can leave another short, so until nothing changes."""
        left, dropped, holders = set(alive), set[int](), self._round.links.holders
        while short := {party for party in left if sum(holder in left for holder in holders[party]) < self.facts.t}:
            left -= short
            dropped |= short
        for party in dropped:
            self._round.drop(party, "prepare", DropReason.TOO_FEW_HOLDERS)
        return dropped
