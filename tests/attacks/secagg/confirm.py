"""CONFIRM and UNMASK: survivor sets that are not the same for all, and signatures that are none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stfed.secagg.client import Confirmed, Trained
from stfed.secagg.messages import Header
from stfed.secagg.refusals import (
    ConfirmationError,
    ConfirmationQuorumError,
    DuplicateConfirmationError,
    StrangeConfirmationError,
    WrongStepError,
)
from stfed.secagg.signing import sign_survivors
from tests.attacks.secagg.cohort import CONFIRMATIONS
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import reads
from tests.attacks.secagg.heard import Parties, without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.world import Setting

CONFIRMED, HOLDING = "stfed.secagg.client.confirmed:Confirmed.", "stfed.secagg.client.holding:Holding."
FIVE = Setting(n=5)
Signatures = tuple[tuple[int, bytes], ...]


def split(world: Coordinator, *, signs: bool = True, padded: Any = lambda own: own) -> None:
    """Of four honest parties two hear that a is out, and two that b is: enough for the seeds of both, and c and d are left alone.

    Args:
        world: five parties that have trained.
        signs: whether CONFIRM is asked for.
        padded: makes more signatures of those that there are.
    """
    a, b, c, d = world.honest
    halves: list[tuple[Parties, Parties]] = [((b, c), without(world.all, a)), ((a, d), without(world.all, b))]
    for told, survivors in halves if signs else ():
        for index in told:
            world.confirm(index, survivors)
    for told, survivors in halves:
        for index in told:
            world.unmask(index, survivors, padded(world.confirmations(index, survivors)))
    reads(world, c, d)


@attack("S3 R9", ConfirmationQuorumError, "3 of 4 parties in U2 confirm it", CONFIRMATIONS, setting=FIVE)
def two_survivor_sets_to_two_halves(world: Coordinator) -> None:
    """With one set for all, the sum is over four or three; with two, over two."""
    world.join().trained()
    split(world)


@attack(
    "S3 R1",
    ConfirmationQuorumError,
    "floor((n+C)/2)+1 = 4 are needed",
    Instead("stfed.secagg.policy:Policy.quorum", lambda self, n: n // 2 + 1, "the quorum counts C parties that sign anything"),
    setting=FIVE,
)
def two_survivor_sets_and_a_corrupt_signature_under_both(world: Coordinator) -> None:
    """More than half of five is three: two honest ones and the corrupt one, for either set."""
    world.join().trained()
    split(world)


@attack(
    "S3",
    DuplicateConfirmationError,
    "name a party twice",
    Check(f"{CONFIRMED}_check_confirmations", "DuplicateConfirmationError"),
    setting=FIVE,
)
def two_survivor_sets_and_one_signature_twice(world: Coordinator) -> None:
    """The fourth signature is a copy of the third."""
    world.join().trained()
    split(world, padded=lambda own: (*own, own[-1]))


@attack(
    "S3",
    ConfirmationError,
    "is not its signature under this round",
    Check(f"{CONFIRMED}_check_confirmations", "ConfirmationError"),
    setting=FIVE,
)
def two_survivor_sets_and_a_forged_signature(world: Coordinator) -> None:
    """The fourth signature is made up."""
    world.join().trained()

    def forged(own: Signatures) -> Signatures:
        missing = next(index for index in world.honest[2:] if index not in dict(own))
        return tuple(sorted((*own, (missing, bytes(64)))))

    split(world, padded=forged)


def forgets_its_signature(real: Any, self: Any, record: Any, request: bytes) -> Any:
    """A party that signs whatever it is asked: CONFIRM finds it where TRAIN left it."""
    state = record.state
    if isinstance(state, Confirmed):
        state = Trained(state.member, state.keys, state.facts, state.alive, state.transcript, state.held)
    return real(replace(record, state=state), request)


@attack(
    "R9 S3",
    WrongStepError,
    "CONFIRM does not belong to the state this party is in, Confirmed",
    Instead("stfed.secagg.party:Party._confirm", forgets_its_signature, "one signature a round", wraps=True),
    setting=FIVE,
)
def two_survivor_sets_signed_by_the_same_parties(world: Coordinator) -> None:
    """Everybody is asked for a signature under either set, so that both have a quorum."""
    world.join().trained()
    a, b, c, d = world.honest
    # Whoever is to unmask a set signs it last.
    for index, survivors in ((d, without(world.all, a)), (c, without(world.all, b))):
        world.confirm(index, survivors)
    split(world)


@attack(
    "S3 R9",
    WrongStepError,
    "UNMASK does not belong to the state this party is in, Trained, which waits for",
    Instead("stfed.secagg.party:require", lambda state, event: None, "no path leads to UNMASK but through CONFIRM"),
    Check("stfed.secagg.client.trained:Trained.unmask", "ModeError", "needs CONFIRM"),
    setting=FIVE,
)
def unmask_without_confirm(world: Coordinator) -> None:
    """Two halves are asked straight away, as in semi-honest mode."""
    world.join().trained()
    split(world, signs=False, padded=lambda _: ())


@attack("S3", StrangeConfirmationError, "which is not in U2", Check(f"{CONFIRMED}_check_confirmations", "StrangeConfirmationError"))
def a_signature_of_a_party_that_is_out(world: Coordinator) -> None:
    """The corrupt party is not in the sum, and makes up the quorum."""
    world.join().trained()
    survivors = (0, 1, 2, 3)
    for index in (0, 1, 2):
        world.confirm(index, survivors)
    own = world.confirmations(0, survivors)
    corrupt = world.corrupt[0]
    view = world.heard[world.round].views[0]
    signature = sign_survivors(world.parties[corrupt].key.ed25519, view.facts.header, view.transcript, survivors)
    world.unmask(0, survivors, (*own, (corrupt, signature)))


def only_the_set(real: Any, *args: Any) -> Any:
    """A confirmation that is bound to the parties in U2 and to nothing else."""
    return real(*(Header(0, 0, 0) if isinstance(one, Header) else bytes(32) if at == len(args) - 2 else one for at, one in enumerate(args)))


@attack(
    "S6 S17",
    ConfirmationError,
    "is not its signature under this round",
    Instead(
        "stfed.secagg.client.confirmed:check_survivors", only_the_set, "a confirmation is bound to run, round and transcript", wraps=True
    ),
    Instead("stfed.secagg.client.trained:sign_survivors", only_the_set, "the same", wraps=True),
)
def the_confirmations_of_the_last_round(world: Coordinator) -> None:
    """Nobody but the victim is asked to sign in this one."""
    world.join().trained()
    for index in world.honest:
        world.confirm(index, world.all)
    old = world.heard[1].signatures
    world.trained()
    world.confirm(0, world.all)
    world.unmask(0, world.all, tuple(sorted((party, signature) for (party, _, signed), signature in old.items() if signed == world.all)))
