"""U1, whom the victim masks against: too few, strangers, or not itself."""

from __future__ import annotations

from stfed.secagg.refusals import CohortTooSmallError, NotAMemberError, ParametersError, ShareHoldersError, UnknownPartyError
from tests.attacks.secagg.cohort import ALIVE, HOLDERS, PARAMETERS, PREPARED
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import reads
from tests.attacks.secagg.heard import without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check
from tests.attacks.secagg.world import Setting


def vote_behind_the_victims_back(world: Coordinator, shown: tuple[int, ...]) -> None:
    """The victim masks against those in `shown` only; all others go on without a word of it and give up its b."""
    victim, others = 0, world.honest[1:]
    world.train(victim, shown, deliveries=world.deliveries(victim, shown, world.told[victim]))
    for index in others:
        world.train(index)
    world.ended(among=others)
    reads(world, victim)


@attack("R7 S3", UnknownPartyError, "which is not in the cohort of PREPARE", Check(f"{PREPARED}train", "UnknownPartyError"), HOLDERS)
def a_u1_filled_up_with_parties_from_outside_the_cohort(world: Coordinator) -> None:
    """It is large enough, and yet the victim is alone in it with the corrupt one: the others share no masks and no secrets with it."""
    world.join()
    facts = world.facts(cohort=world.all)
    world.prepared(facts, first=world.honest)
    vote_behind_the_victims_back(world, (0, world.corrupt[0], 97, 98, 99))


NINE = Setting(n=9)


@attack("R7 S3", ShareHoldersError, "3 of this party's share-holders are in U1, t = 5 are needed", HOLDERS, setting=NINE)
def a_u1_of_their_own_for_three_of_nine(world: Coordinator) -> None:
    """Three get a U1 with the corrupt party and nobody else. The other five sign one and the same U2, in which one of the three is alive
    and the two others are not, so that CONFIRM finds nothing. Size alone is no reason to refuse: C + h_min are four.
    """
    world.join()
    few, others, corrupt = world.honest[:3], world.honest[3:], world.corrupt[0]
    world.prepared(world.facts(k=8, t=5), first=few)
    for index in few:
        world.train(index, (*few, corrupt))
    for index in others:
        world.train(index)
    world.ended(without(world.all, *few[1:]), others)
    reads(world, few[0])


@attack("R7", NotAMemberError, "this party is not in U1", Check(f"{PREPARED}train", "NotAMemberError"))
def a_u1_without_the_victim(world: Coordinator) -> None:
    """Nobody masks against it, and it is asked for its vector all the same."""
    world.join()
    world.prepared(first=world.honest)
    world.train(0, without(world.all, 0))


STRICT = Setting(n=8, policy="[cohort]\nmin_survivors = 7\n")


@attack(
    "S9 R7", CohortTooSmallError, "U1 has 6 of 8 parties, this party takes part with 7 or more", ALIVE, setting=STRICT, given=(PARAMETERS,)
)
def a_u1_below_the_owners_minimum(world: Coordinator) -> None:
    """A hospital asks for sums over seven; the coordinator lets two drop and hopes that it is not noticed."""
    a_sum_over_six_of_eight(world)


@attack("S9 S21", ParametersError, "t = 5 shares reconstruct a secret, this party asks for 7 or more", PARAMETERS, ALIVE, setting=STRICT)
def a_threshold_below_the_owners_minimum(world: Coordinator) -> None:
    """The others may have a weaker policy and release their shares of the victim's seed for a smaller sum: t is what holds them to more."""
    a_sum_over_six_of_eight(world)


def a_sum_over_six_of_eight(world: Coordinator) -> None:
    world.join()
    world.prepared(world.facts(k=7, t=5), first=world.honest)
    few = without(world.all, 5, 6)
    honest = without(few, *world.corrupt)
    for index in honest:
        world.train(index, few)
    world.ended(few, honest)
    reads(world, *honest)
