"""Who holds whose shares and who masks against whom in one round, as the coordinator knows it.

On a graph that follows from public values it is all there before the first reply: a party's neighbours hold its shares, deal it theirs and
share a mask with it. Where parties draw their holders, each says in PREPARE whom it drew; two parties share a mask if either drew the
other.

Inside, parties are their places in the cohort, and the relation is two tables of n * k small numbers, 10 bytes for each pair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from stfed.crypto import aead
from stfed.errors import DecodeError
from stfed.secagg.drawn import drawn_point
from stfed.secagg.messages import SHORT_HASH_BYTES, DrawnPrepare, Prepare
from stfed.secagg.transcript import RoundFacts

SEED_BYTES = 32
_NOBODY = -1


class Links:
    """Answers by directory index.

    Attributes:
        place: of each party in the cohort.
    """

    def __init__(self, facts: RoundFacts) -> None:
        self._facts = facts
        self.place: dict[int, int] = {party: at for at, party in enumerate(facts.cohort)}
        self._party_at = np.array(facts.cohort, np.int64)
        # Row: a dealer. Column: where in its PREPARE a holder's part is. Empty rows belong to who has not drawn yet, or is out.
        self._holders = np.full((facts.n, facts.k), _NOBODY, np.int32) if facts.drawn else facts.graph().table()
        self._dealt_to: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint16]] | None = None

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
            self._holders[self.place[party]] = [self.place[holder] for holder in prepare.holders]
            self._dealt_to = None

    def keep(self, dealers: Collection[int]) -> None:
        """Forgets whom all others dealt to: they are out, and no share of theirs is passed on or asked for."""
        out = np.ones(self._facts.n, bool)
        out[[self.place[dealer] for dealer in dealers]] = False
        self._holders[out] = _NOBODY
        self._dealt_to = None

    def _incoming(self, party: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """The dealers whose shares a party holds, ascending, and where in the PREPARE of each."""
        if self._dealt_to is None:
            flat = self._holders.ravel()
            order = np.argsort(flat, kind="stable")[np.count_nonzero(flat == _NOBODY) :]  # by holder, then by dealer
            starts = np.searchsorted(flat[order], np.arange(self._facts.n + 1))
            dealers, slots = np.divmod(order, self._facts.k)
            self._dealt_to = starts, dealers.astype(np.int32), slots.astype(np.uint16)
        starts, all_dealers, all_slots = self._dealt_to
        own = slice(*starts[self.place[party] : self.place[party] + 2])
        return all_dealers[own], all_slots[own]

    def holders(self, dealer: int) -> tuple[int, ...]:
        """Who holds a dealer's shares, in the order of its PREPARE; nobody if it is out."""
        places = self._holders[self.place[dealer]]
        return () if places[0] == _NOBODY else tuple(self._party_at[places].tolist())

    def dealers(self, holder: int) -> tuple[int, ...]:
        """Whose shares a party holds, ascending."""
        return tuple(self._party_at[self._incoming(holder)[0]].tolist())

    def slots(self, holder: int) -> list[int]:
        """Where in the PREPARE of each of its `dealers` a party's part is."""
        slots: list[int] = self._incoming(holder)[1].tolist()
        return slots

    def neighbours(self, party: int) -> tuple[int, ...]:
        """With whom a party shares a mask if both are alive, ascending; once each, though both may have drawn the other."""
        holders = self.holders(party)
        return tuple(sorted({*holders, *self.dealers(party)})) if self._facts.drawn else holders

    def short_of(self, parties: Iterable[int], t: int) -> list[int]:
        """The dealers, `keep` or drawn, who have fewer than t share-holders among these parties."""
        among = np.zeros(self._facts.n + 1, bool)  # the last one is for _NOBODY
        among[[self.place[party] for party in parties]] = True
        short = (among[self._holders].sum(axis=1) < t) & (self._holders[:, 0] != _NOBODY)
        found: list[int] = self._party_at[short].tolist()
        return found

    def point(self, dealer: int, holder: int) -> int:
        """The x of a holder's share of a dealer's secrets."""
        return drawn_point(self.place[holder]) if self._facts.drawn else self.slot(dealer, holder) + 1

    def slot(self, dealer: int, holder: int) -> int:
        """Where in a dealer's PREPARE this holder's part is.

        Raises:
            ValueError: it deals nothing to this party.
        """
        return self.holders(dealer).index(holder)

    def seed_at(self, party: int, other: int) -> int:
        """Which of the seeds in a party's box is the one with this neighbour."""
        if not self._facts.drawn:
            return self.slot(party, other)
        return self.place[other] - (self.place[other] > self.place[party])
