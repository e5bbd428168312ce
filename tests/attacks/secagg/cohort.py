"""Who is asked, with which numbers: cohorts, thresholds and graphs in which the victim is nearly alone."""

from __future__ import annotations

from stfed.secagg.messages import Header, JoinRequest
from stfed.secagg.refusals import CohortTooSmallError, ModeError, ParametersError
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import has_both, reads
from tests.attacks.secagg.heard import without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.world import RUN, Setting

POLICY = "stfed.secagg.policy:Policy."
PREPARED = "stfed.secagg.client.prepared:Prepared."
COHORT = Check(f"{POLICY}check_cohort", "CohortTooSmallError")
ALIVE = Check(f"{POLICY}check_alive", "CohortTooSmallError")
HOLDERS = Check(f"{PREPARED}_check_holders", "ShareHoldersError")
PARAMETERS = Instead(f"{POLICY}check_parameters", lambda *_, **__: None, "k and t are computed again by the party")
CONFIRMATIONS = Instead(
    "stfed.secagg.client.confirmed:Confirmed._check_confirmations", lambda *_: None, "the signatures of a quorum under U2 are checked"
)


def alone_with_the_coordinators_own(world: Coordinator) -> None:
    """The smallest cohort that can be masked at all: the victim and a corrupt party, one share each."""
    world.join()
    victim, corrupt = 0, world.corrupt[0]
    facts = world.facts(cohort=(victim, corrupt), k=1, t=1)
    world.prepare(victim, facts)
    world.train(victim)
    reads(world, victim)


@attack("S9 S21 A1 R0", CohortTooSmallError, "the cohort has 2 parties", COHORT, ALIVE, PARAMETERS)
def a_cohort_of_one_with_threshold_one(world: Coordinator) -> None:
    """The victim is put into a cohort with nobody else in it but the coordinator's own party, which holds the one share that is needed."""
    alone_with_the_coordinators_own(world)


@attack("S9 S21 A1 R0", CohortTooSmallError, "the cohort has 2 parties", COHORT, ALIVE, PARAMETERS, semi_honest=True)
def a_cohort_of_one_with_threshold_one_in_semi_honest_mode(world: Coordinator) -> None:
    """The same of a party that trusts the coordinator to follow the protocol: this needs no trust to be refused."""
    alone_with_the_coordinators_own(world)


@attack("S21 R0", ParametersError, "t = 1 shares", PARAMETERS)
def threshold_one_in_a_large_cohort(world: Coordinator) -> None:
    """One corrupt party holds a share of both secrets of everybody, so one share must not be enough."""
    world.join()
    world.prepared(world.facts(k=5, t=1), first=world.honest)
    world.train(0)
    has_both(world, 0)
    reads(world, 0)


@attack("S1 R12", ParametersError, "secrecy: t = 3 of k = 5 for 6 parties with 1 corrupt", PARAMETERS, CONFIRMATIONS)
def a_victim_that_is_alive_for_one_half_and_dead_for_the_other(world: Coordinator) -> None:
    """2t = k + C: two honest holders give shares of b, two of z, and the corrupt one has both. CONFIRM has to be broken as well."""
    world.join()
    facts = world.facts(k=5, t=3)
    world.prepared(facts, first=world.honest)
    alive_and_dead(world)


@attack("S1 A3 R0", ParametersError, "t = 2 shares reconstruct a secret", PARAMETERS, semi_honest=True)
def a_victim_both_alive_and_dead_in_semi_honest_mode(world: Coordinator) -> None:
    """Where nobody signs survivor sets, it is t alone, a majority of the holders, that keeps two halves from giving one secret each."""
    world.join()
    world.prepared(world.facts(k=5, t=2), first=world.honest)
    alive_and_dead(world)


def alive_and_dead(world: Coordinator) -> None:
    victim = 0
    for index in world.honest:
        world.train(index)
    for told, survivors in (((1, 2), world.all), ((3, 4), without(world.all, victim))):
        world.ended(survivors, told)
    has_both(world, victim)
    reads(world, victim)


LARGE = Setting(n=4, corrupt=2, members=11)


@attack(
    "R1 S9",
    CohortTooSmallError,
    "the cohort has 4 parties, this party takes part in 5 or more",
    Instead("stfed.secagg.party:Party._rules", property(lambda self: self.policy), "C is a share of the roster, not of the cohort"),
    setting=LARGE,
)
def a_cohort_picked_so_that_all_corrupt_parties_are_in_it(world: Coordinator) -> None:
    """Two of eleven members are corrupt, and both are in a cohort of four: the sum is over two honest parties."""
    world.join()
    facts = world.facts(k=3, t=3)
    for index in world.honest:
        world.prepare(index, facts)
    for index in world.honest:
        world.train(index)
    world.ended()
    reads(world, *world.honest)


# --- U1 ----------------------------------------------------------------------------------------------------------------------------------


# --- modes -------------------------------------------------------------------------------------------------------------------------------


@attack(
    "S21",
    ModeError,
    "the coordinator runs in semi-honest mode, this party's policy is malicious",
    Check("stfed.secagg.client:join", "ModeError"),
)
def a_party_of_malicious_mode_in_a_semi_honest_run(world: Coordinator) -> None:
    """Without signatures and CONFIRM everything that they prevent is possible."""
    world.epoch = 1
    world.light(world.everybody[0], JoinRequest(header=Header(RUN, 1, 0), mode=1).encode())


@attack("S21", ModeError, "the round is not in this party's mode, malicious", Check(f"{POLICY}check_mode", "ModeError"))
def a_semi_honest_round_in_a_malicious_run(world: Coordinator) -> None:
    """After everybody has joined with signatures, one round without them."""
    world.join()
    world.prepare(0, world.facts(), mode=1)
