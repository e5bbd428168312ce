"""U2, who is in the sum: another set than was signed, with strangers, too small, or without the one that is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stfed.errors import DecodeError
from stfed.secagg.messages import ConfirmRequest
from stfed.secagg.refusals import (
    CohortTooSmallError,
    NotAMemberError,
    OtherSurvivorsError,
    SurvivorsError,
)
from tests.attacks.secagg.cohort import ALIVE, PARAMETERS
from tests.attacks.secagg.confirm import CONFIRMED, HOLDING
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import reads
from tests.attacks.secagg.heard import without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.world import Setting
from tests.secagg.scene import patched, u32s


def takes_their_word(real: Any, self: Any, request: Any, policy: Any) -> Any:
    """A party that unmasks what the others have signed."""
    return real.func(replace(self, survivors=request.survivors), request, policy)


@attack(
    "R9 S1",
    OtherSurvivorsError,
    "another U2 than the one that this party signed",
    Instead(f"{CONFIRMED}unmask", takes_their_word, "a party unmasks what it signed itself", wraps=True),
)
def another_u2_than_the_one_that_was_signed(world: Coordinator) -> None:
    """The others are a quorum for it, and the victim of the lie is to give them the shares that they lack."""
    world.join().trained()
    survivors = without(world.all, 4)
    for index in (1, 2, 3):
        world.confirm(index, survivors)
    world.confirm(0, world.all)
    world.unmask(0, survivors)


@attack(
    "R7 S3", SurvivorsError, "which is not in the U1 that this party trained with", Check(f"{HOLDING}check_survivors", "SurvivorsError")
)
def a_u2_with_somebody_who_was_not_in_u1(world: Coordinator) -> None:
    """Whoever comes back for UNMASK masked against nobody."""
    world.join()
    world.prepared()
    few = without(world.all, 4)
    for index in without(few, *world.corrupt):
        world.train(index, few)
    world.confirm(0, world.all)


@attack("R7", NotAMemberError, "this party is not in U2", Check(f"{HOLDING}check_survivors", "NotAMemberError"))
def a_party_that_is_out_is_asked_for_shares(world: Coordinator) -> None:
    """Shares of the dead would let a coordinator call many parties dead, and still collect enough."""
    world.join().trained()
    world.confirm(0, without(world.all, 0))


ALL = Setting(policy="[cohort]\nmin_survivors = 6\n")


@attack("S9", CohortTooSmallError, "U2 has 5 of 6 parties, this party takes part with 6 or more", ALIVE, setting=ALL, given=(PARAMETERS,))
def a_u2_below_the_owners_minimum(world: Coordinator) -> None:
    """A hospital asks for sums over all six."""
    world.join().trained()
    world.ended(without(world.all, 4))
    reads(world, 0, 1, 2, 3)


NO_ORDER = Instead("stfed.secagg.messages.base:_strictly_increasing", lambda parties: True, "a set of parties names nobody twice")


@attack("R7 S9", DecodeError, "a party is named twice or out of order", NO_ORDER)
def a_u2_in_which_one_party_is_named_over_and_over(world: Coordinator) -> None:
    """Four names are enough for a survivor set, if nobody looks whether they are four parties."""
    world.join()
    facts = world.trained()
    honest = ConfirmRequest(header=facts.header, survivors=(0, 1, 2, 5)).encode()
    world.light(world.parties[0], patched(honest, u32s(4, 0, 1, 2, 5), u32s(4, 0, 5, 5, 5)))
