"""Once only: the same step, round or run a second time, from an old copy, or twice at the same moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stfed.secagg.client import Prepared
from stfed.secagg.messages import UnmaskRequest, peek
from stfed.secagg.refusals import RoundOrderError, WrongRoundError, WrongStepError
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import has_both, reads
from tests.attacks.secagg.heard import Parties, without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.training import content_of, model

VICTIM = 0


def forgets(real: Any, self: Any, record: Any, request: bytes) -> Any:
    """A party that answers and stays as it was."""
    _, reply = real(record, request)
    return record, reply


SECOND = Instead("stfed.secagg.party:Party._unmask", forgets, "a step is spent before its answer leaves", wraps=True)
SPENT = "UNMASK does not belong to the state this party is in, Ready"


def twice(world: Coordinator, one: Parties, other: Parties) -> None:
    """UNMASK with one survivor set and then with another."""
    for survivors in (one, other):
        for index in without(world.honest, VICTIM):
            world.unmask(index, survivors)
    has_both(world, VICTIM)
    reads(world, VICTIM)


@attack("S1 S6 R11 A3", WrongStepError, SPENT, SECOND, semi_honest=True)
def unmask_twice_with_the_victim_alive_and_then_dead(world: Coordinator) -> None:
    """Two answers for one round number are both secrets of the victim."""
    world.join().trained()
    twice(world, world.all, without(world.all, VICTIM))


@attack("R10 R11", WrongStepError, SPENT, SECOND, semi_honest=True)
def unmask_again_after_the_coordinator_has_restarted(world: Coordinator) -> None:
    """It has lost its memory, counts the survivors anew, and finds others."""
    world.join().trained()
    twice(world, without(world.all, VICTIM), world.all)


@attack("S18", WrongStepError, SPENT, SECOND, semi_honest=True)
def a_late_vector_and_shares_to_match(world: Coordinator) -> None:
    """The victim is called dead before it has answered, so that its pairwise seeds are known; then its vector arrives. Its self-mask is
    what still protects it, until the others give that up as well.
    """
    world.join().prepared()
    others = without(world.honest, VICTIM)
    for index in others:
        world.train(index)
    for index in others:
        world.unmask(index, without(world.all, VICTIM))
    world.train(VICTIM)
    for index in others:
        world.unmask(index, world.all)
    reads(world, VICTIM)


ORDER = "stfed.secagg.client.ready:check_round_order"


@attack("S6 R11", RoundOrderError, "round 1 was used before", Check(ORDER, "RoundOrderError", "was used before"))
def a_round_number_again(world: Coordinator) -> None:
    """New shares for a round that has shares already, with another cohort."""
    world.join().whole_round()
    world.prepare(VICTIM, world.facts(1, cohort=without(world.all, 4)))


@attack("S6 R11", RoundOrderError, "round 1 was used before", Check(ORDER, "RoundOrderError", "was used before"))
def prepare_again_with_other_parameters(world: Coordinator) -> None:
    """The party has dealt its shares and waits for TRAIN; a second dealing of the same round would give shares of four secrets."""
    world.join()
    facts = world.prepared()
    world.prepare(VICTIM, replace(facts, t=5))


@attack("R4 S19", RoundOrderError, "skips 5000 rounds, this party allows 1024", Check(ORDER, "RoundOrderError", "skips"))
def a_round_number_far_ahead(world: Coordinator) -> None:
    """Every skipped round costs a hash for each pairwise key, and there are four billion numbers."""
    world.join()
    world.prepare(VICTIM, world.facts(5_001))


def trains_again(real: Any, self: Any, request: bytes, content: bytes, *args: Any, **how: Any) -> Any:
    """A party that accepts TRAIN as often as it comes: it keeps what PREPARE left."""
    _, header = peek(request)
    with self._store.transaction(header.run) as transaction:
        record = self._record(transaction, header)
        if isinstance(record.state, Prepared):
            _KEPT[self._store.node, header] = record
        elif (self._store.node, header) in _KEPT:
            self._write(transaction, _KEPT[self._store.node, header])
    return real.func(self, request, content, *args, **how)


_KEPT: dict[Any, Any] = {}


@attack(
    "R11 S6",
    WrongStepError,
    "TRAIN does not belong to the state this party is in, Trained",
    Instead("stfed.secagg.party:Party.start_training", trains_again, "TRAIN is spent before the function runs", wraps=True),
)
def train_twice_in_one_round(world: Coordinator) -> None:
    """Two vectors under the same secrets, on two models."""
    world.join().prepared()
    first = world.train(VICTIM)
    second = world.train(VICTIM, content=content_of(model(2)))
    assert first.payload != second.payload


@attack(
    "R11 S6",
    WrongRoundError,
    "UNMASK belongs to another round",
    Check("stfed.secagg.client.holding:Holding.check_survivors", "WrongRoundError"),
    semi_honest=True,
)
def shares_of_this_round_as_shares_of_another(world: Coordinator) -> None:
    """An UNMASK with the number of a round that was given up."""
    world.join().trained()
    world.trained()
    facts = world.told[1]
    request = UnmaskRequest(header=replace(facts.header, round=1), survivors=world.all)
    world.light(world.parties[1], request.encode())
