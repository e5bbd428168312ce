"""The PREPARE that rides on UNMASK: both are answered in one transaction, and each as if it had come alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stfed.secagg.messages import peek
from stfed.secagg.refusals import RevokedIdentityError, WrongStepError
from stfed.secagg.transcript import RoundFacts
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import has_both, reads
from tests.attacks.secagg.heard import without
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Instead

VICTIM = 0


def rolls_back_refused(real: Any, self: Any, unmask: bytes, prepare: bytes) -> Any:
    """A party that undoes its whole step when it refuses PREPARE, and has answered UNMASK all the same."""
    before = _record(self, unmask)
    released, prepared = real(unmask, prepare)
    if not isinstance(prepared, bytes):
        _put_back(self, unmask, before)
    return released, prepared


def goes_back_when_asked_again(real: Any, self: Any, unmask: bytes, prepare: bytes) -> Any:
    """A party that takes a second UNMASK with another PREPARE for a resend, and answers it from where it was: no reply is to be lost."""
    key = self._store.node, peek(unmask)[1]
    _put_back(self, unmask, _KEPT.setdefault(key, _record(self, unmask)))
    return real(unmask, prepare)


_KEPT: dict[Any, Any] = {}


def _record(party: Any, request: bytes) -> Any:
    _, header = peek(request)
    with party._store.transaction(header.run) as transaction:
        return party._record(transaction, header)


def _put_back(party: Any, request: bytes, record: Any) -> None:
    with party._store.transaction(peek(request)[1].run) as transaction:
        party._write(transaction, record)


TOGETHER = "stfed.secagg.party:Party.unmask_and_prepare"


def both_secrets(world: Coordinator, *rides: RoundFacts) -> None:
    """The others are asked for shares twice, the victim alive and then dead, each time with one of these rounds' PREPARE on the message."""
    for survivors, facts in zip((world.all, without(world.all, VICTIM)), rides, strict=True):
        for index in without(world.honest, VICTIM):
            world.unmask(index, survivors, riding=facts)
    has_both(world, VICTIM)
    reads(world, VICTIM)


@attack(
    "S1 S6 R11",
    WrongStepError,
    "UNMASK does not belong to the state this party is in, Ready",
    Instead(TOGETHER, rolls_back_refused, "a PREPARE that is refused leaves the UNMASK under it spent", wraps=True),
    semi_honest=True,
)
def a_prepare_that_must_be_refused_rides_on_unmask_so_that_it_can_be_asked_again(world: Coordinator) -> None:
    """One share is to be enough in the next round, which every party refuses: the one transaction would fail, the shares are given."""
    world.join().trained()
    refused = replace(world.facts(), t=1)
    both_secrets(world, refused, refused)


@attack(
    "S1 S6 R11 A3",
    WrongStepError,
    "UNMASK does not belong to the state this party is in, Prepared",
    Instead(TOGETHER, goes_back_when_asked_again, "what was answered is known by its bytes, and the round is over", wraps=True),
    semi_honest=True,
)
def unmask_again_with_another_prepare_riding_on_it(world: Coordinator) -> None:
    """As a coordinator would that lost the first replies and has another cohort in mind by now, in which the victim is not."""
    world.join().trained()
    both_secrets(world, world.facts(), world.facts(cohort=without(world.all, VICTIM)))


@attack(
    "S2 S21",
    RevokedIdentityError,
    "revoked",
    Instead("stfed.secagg.party:Party._check_again", lambda self, state: None, "the owner's rules are checked again at TRAIN"),
)
def a_peer_is_revoked_after_prepare_rode_on_unmask(world: Coordinator) -> None:
    """PREPARE rode with the round before and the key was found stolen since: the coordinator waits with TRAIN, and asks nobody anew."""
    world.join().trained()
    for index in world.honest:
        world.confirm(index, world.all)
    facts = world.facts()
    for index in world.honest:
        world.unmask(index, world.all, riding=facts)
        world.told[index] = facts
    for index in world.corrupt:
        world.prepare(index, facts)
    world.write_roster(world.roster.revoke("party 5", datetime.now(UTC) - timedelta(days=1)))
    index = next(party.index for party in world.everybody if party.number == 0)
    world.train(index)
