"""How an attack ends: with what it was after, or with nothing. And what no attack may have in any case."""

from __future__ import annotations

import numpy as np

from stfed.errors import StfedError
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.heard import Parties
from tests.attacks.secagg.loot import Loot
from tests.attacks.secagg.training import Arrays


class NothingLearnedError(StfedError):
    """The attack ran to its end, nobody refused anything, and the coordinator has nothing that it must not have."""


class ExactAllTheSameError(StfedError):
    """Where the result is attacked: it is the exact sum of those that the coordinator names, and the liar is known if the lie was seen."""


def rounds(world: Coordinator) -> list[Loot]:
    return [Loot(world, heard) for _, heard in sorted(world.heard.items())]


def same(found: Arrays, wanted: Arrays) -> bool:
    """To the precision of the encoding: the model has float32, and the sums here have weights of up to some hundred."""
    return all(float(np.abs(found[name] - wanted[name]).max()) < 2e-3 for name in wanted)


def least_sum(world: Coordinator) -> tuple[Parties, Loot] | None:
    """The sum over fewest honest parties that can be computed in any round, with the numbers checked."""
    found: list[tuple[Parties, Loot]] = []
    for loot in rounds(world):
        for party in loot.heard.views:
            parties = loot.sum_with(party)
            # A party that was sent another model with rate 0 has nothing in the sum: who can subtract nothing has the others alone.
            if parties is not None and (telling := tuple(p for p in parties if loot.heard.views[p].rate)):
                found.append((telling, loot))
                assert same(loot.sum_of(parties), loot.truth(parties)), "a sum was computed, and it is wrong"
    return min(found, key=lambda item: len(item[0]), default=None)


def reads(world: Coordinator, *victims: int) -> None:
    """Returns if the coordinator can compute the sum of just these parties' updates (of one: its update), checked against the truth.

    Raises:
        NothingLearnedError: it cannot.
    """
    best = least_sum(world)
    for loot in rounds(world):
        parties = loot.sum_with(victims[0]) if victims[0] in loot.heard.views else None
        if parties and set(victims) == {p for p in parties if loot.heard.views[p].rate}:
            return
    kept = "no sum at all" if best is None else f"nothing below the sum over {len(best[0])} honest parties"
    raise NothingLearnedError(f"the coordinator has {kept}")


def has_both(world: Coordinator, victim: int) -> None:
    """Returns if both secrets of a party are known in some round.

    Raises:
        NothingLearnedError: they are not.
    """
    if not any(loot.both(victim) for loot in rounds(world)):
        raise NothingLearnedError("no party's two secrets are known together")


def check_nothing(world: Coordinator, floor: int) -> None:
    """Nothing that the coordinator has is more than a sum over at least `floor` honest parties. AssertionError if it is."""
    for loot in rounds(world):
        assert not any(map(loot.both, loot.heard.prepares)), "both secrets of a party are known"
    best = least_sum(world)
    assert best is None or len(best[0]) >= floor, f"the sum over {best[0]} only is known"
