"""Who holds whose shares and who masks against whom in one round, as the coordinator knows it.

On a graph that follows from public values it is all there before the first reply: a party's neighbours hold its shares, deal it theirs and
share a mask with it. Where parties draw their holders, each says in PREPARE whom it drew; two parties share a mask if either drew the
other.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

from stfed.crypto import aead
from stfed.errors import DecodeError
from stfed.secagg.drawn import drawn_point
from stfed.secagg.messages import SHORT_HASH_BYTES, DrawnPrepare, Prepare
from stfed.secagg.transcript import RoundFacts

SEED_BYTES = 32


class Links:
    """By directory index.

    Attributes:
        place: of each party in the cohort.
        holders: of each dealer's shares, in the order of its PREPARE.
        dealers: whose shares each party holds, ascending.
        slot: per dealer, where in its PREPARE each holder's part is.
    """

    def __init__(self, facts: RoundFacts) -> None:
        cohort = facts.cohort
        self._facts = facts
        self.place = {party: at for at, party in enumerate(cohort)}
        self.holders: dict[int, tuple[int, ...]] = {}
        self.slot: dict[int, dict[int, int]] = {}
        self.dealers: dict[int, list[int]] = {party: [] for party in cohort}
        self._commitments: dict[int, bytes] = {}
        if not facts.drawn:
            graph = facts.graph()
            for at, party in enumerate(cohort):
                self._link(party, tuple(cohort[other] for other in graph.neighbours(at)))

    def _link(self, dealer: int, holders: tuple[int, ...]) -> None:
        self.holders[dealer] = holders
        self.slot[dealer] = {holder: at for at, holder in enumerate(holders)}
        for holder in holders:
            insort(self.dealers[holder], dealer)

    def decode(self, party: int, data: bytes) -> Prepare:
        """A party's PREPARE, in the form that this round asks for.

        Raises:
            DecodeError: it is none, it deals to others than it must, or a part has the wrong size.
        """
        k, drawn = self._facts.k, self._facts.drawn
        prepare = (DrawnPrepare if drawn else Prepare).decode(data)
        if len(prepare.dealt) != k:
            raise DecodeError(f"it deals shares to {len(prepare.dealt)} neighbours, k = {k}")
        if len(prepare.box) != (self._facts.n - 1 if drawn else k) * SEED_BYTES + aead.TAG_BYTES:
            raise DecodeError("its box has the wrong size")
        if isinstance(prepare, DrawnPrepare):
            if len(prepare.holders) != k:
                raise DecodeError(f"it names {len(prepare.holders)} share-holders, k = {k}")
            if party in prepare.holders or not self.place.keys() >= set(prepare.holders):
                raise DecodeError("it deals shares to itself, or to somebody who is not in the cohort")
            if len(prepare.others) != (self._facts.n - 1 - k) * SHORT_HASH_BYTES:
                raise DecodeError("its commitments to pairwise seeds have the wrong size")
        return prepare

    def add(self, party: int, prepare: Prepare) -> None:
        """Takes up whom a party has drawn, from a PREPARE that `decode` returned."""
        if isinstance(prepare, DrawnPrepare):
            self._link(party, prepare.holders)
            self._commitments[party] = self._in_order(party, prepare)

    def _in_order(self, party: int, prepare: DrawnPrepare) -> bytes:
        """The commitments to the seeds with everybody else in the cohort, ascending, one behind the other."""
        held = np.zeros(self._facts.n - 1, bool)
        held[[self.seed_at(party, holder) for holder in prepare.holders]] = True
        commitments = np.empty((self._facts.n - 1, SHORT_HASH_BYTES), np.uint8)
        to_holders = b"".join(dealt.seed_commitment for dealt in prepare.dealt)
        for chosen, data in ((held, to_holders), (~held, prepare.others)):
            commitments[chosen] = np.frombuffer(data, np.uint8).reshape(-1, SHORT_HASH_BYTES)
        return commitments.tobytes()

    def neighbours(self, party: int) -> tuple[int, ...]:
        """With whom a party shares a mask if both are alive, ascending; once each, though both may have drawn the other."""
        return tuple(sorted({*self.holders[party], *self.dealers[party]})) if self._facts.drawn else self.holders[party]

    def point(self, dealer: int, holder: int) -> int:
        """The x of a holder's share of a dealer's secrets."""
        return drawn_point(self.place[holder]) if self._facts.drawn else self.slot[dealer][holder] + 1

    def seed_at(self, party: int, other: int) -> int:
        """Which of the seeds in a party's box is the one with this neighbour."""
        if not self._facts.drawn:
            return self.slot[party][other]
        return self.place[other] - (self.place[other] > self.place[party])

    def seed_commitment(self, party: int, prepare: Prepare, other: int) -> bytes:
        """What a party has published about its seed with this neighbour."""
        if not self._facts.drawn:
            return prepare.dealt[self.slot[party][other]].seed_commitment
        start = self.seed_at(party, other) * SHORT_HASH_BYTES
        return self._commitments[party][start : start + SHORT_HASH_BYTES]
