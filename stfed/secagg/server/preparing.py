"""PREPARE: commitments, boxes and shares; who of the cohort can go on is U1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from stfed.crypto.identity import BadSignatureError
from stfed.encoding import EncodingPlan
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.secagg.directory import Directory
from stfed.secagg.messages import SHORT_HASH_BYTES, PrepareRequest
from stfed.secagg.server.archive import Archive
from stfed.secagg.server.collecting import Collecting
from stfed.secagg.server.disputes import settle, worst_first
from stfed.secagg.server.drops import DropReason
from stfed.secagg.server.published import Published, publish
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
        file: takes what parties that draw their holders say, 48 n^2 bytes of ciphertexts and commitments, in the place of memory: open for
            reading and writing, best one without a name.
    """

    def __init__(
        self,
        facts: RoundFacts,
        names: Sequence[str],
        floor: int,
        *,
        directory: Directory | None = None,
        corrupt: int | None = None,
        file: BinaryIO | None = None,
    ) -> None:
        if (sized := EncodingPlan.decode(facts.plan).parties) != facts.n:
            raise LocalError(f"the encoding is sized for {sized} parties, the cohort has {facts.n}")
        self._round = Round(facts, names, floor, directory, corrupt)
        self._context = round_context(facts) if self._round.malicious else b""
        self._prepares = Archive(file)

    def request(self, directory: Sequence[bytes] = ()) -> PrepareRequest:
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
        self._prepares.put(party, prepare)
        self._round.links.add(party, prepare)

    def leave_out(self, party: int, detail: str) -> None:
        """The party cannot go on, whether it has prepared or not."""
        self._round.drop(party, "prepare", DropReason.ERROR_REPLY, detail)

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
        # In what was published only edges count, and everybody who prepared is an end of some: before anybody is dropped.
        links = self._round.links
        published = {party: publish(party, self._prepares[party], links) for party in sorted(self._prepares) if party not in self.drops}
        alive = published.keys() - self._contradicted(published)
        alive -= self._abandoned(alive)
        if len(alive) < self._round.floor:
            gone = set(self.facts.cohort) - alive
            raise QuorumError(
                f"{len(alive)} of {self.facts.n} parties are left after PREPARE, {self._round.floor} are needed "
                f"({self._round.described(gone)})",
                missing=self._round.missing(gone),
            )
        links.keep(alive)
        left = {party: said for party, said in published.items() if party in alive}
        return Collecting(self._round, left, self._prepares, content)

    def _contradicted(self, published: Mapping[int, Published]) -> set[int]:
        """Parties to drop so that no two neighbours left publish different commitments to their seed."""
        corrupt = self._round.corrupt
        mismatches = _mismatches(published)
        dropped = worst_first(mismatches) if corrupt is None else settle(mismatches, corrupt)
        for party, most in dropped.items():
            self._round.drop(party, "prepare", DropReason.COMMITMENT_MISMATCH, f"{most} neighbours published another commitment")
        return set(dropped)

    def _abandoned(self, alive: set[int]) -> set[int]:
        """Parties with fewer than t share-holders alive; dropping one can leave another short, so until nothing changes."""
        left, dropped = set(alive), set[int]()
        while short := left.intersection(self._round.links.short_of(left, self.facts.t)):
            left -= short
            dropped |= short
        for party in dropped:
            self._round.drop(party, "prepare", DropReason.TOO_FEW_HOLDERS)
        return dropped


def _mismatches(published: Mapping[int, Published]) -> set[tuple[int, int]]:
    """The edges whose ends publish different commitments to their seed: (smaller index, larger index)."""
    parties = np.array(list(published))
    ends = np.repeat(parties, [len(said.neighbours) for said in published.values()])
    others = np.concatenate([said.neighbours for said in published.values()], dtype=np.int64) if published else ends
    commitments = np.frombuffer(b"".join(said.seed_commitments() for said in published.values()), np.uint8)
    commitments = commitments.reshape(-1, SHORT_HASH_BYTES)
    both = np.isin(others, parties)
    ends, others, commitments = ends[both], others[both], commitments[both]
    # Sorted by (end, other) and by (other, end): an edge stands at the same place in both, once from either side.
    here, there = np.lexsort((others, ends)), np.lexsort((ends, others))
    differ = (ends[here] < others[here]) & (commitments[here] != commitments[there]).any(axis=1)
    return set(zip(ends[here][differ].tolist(), others[here][differ].tolist(), strict=True))
