"""Corrupt parties against an honest coordinator: vectors too many or too late, and shares that are wrong.

Nobody's update is at stake here, the result is: it must be the exact sum over those that the coordinator names, whoever lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from stfed.encoding import MetricSchema, decode_sum
from stfed.errors import PeerError
from stfed.flower import records
from stfed.secagg.messages import Masked, Unmask
from stfed.secagg.server import Collecting, Preparing, Unmasking
from stfed.secagg.signing import signed
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import ExactAllTheSameError, same
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Instead
from tests.attacks.secagg.training import Arrays, content_of, examples_of, model, update_of

LIAR = 0


def nothing(*_: Any) -> None:
    """No lie at this step."""


def honest_round(
    world: Coordinator,
    vectors: Callable[[Collecting, int, bytes, bytes], None] = nothing,
    late: Callable[[Collecting], None] = nothing,
    on_the_way: Callable[[Collecting, bytes, bytes], tuple[bytes, bytes]] = lambda _, *vector: vector,
    shares: Callable[[Unmask], Unmask] = lambda unmask: unmask,
) -> None:
    """A round as the real coordinator's classes conduct it, with one lying party.

    Args:
        world: before JOIN.
        vectors: called with each vector as it arrives, to add more.
        late: called when U2 is fixed.
        on_the_way: what becomes of the liar's vector.
        shares: what the liar makes of its shares; it signs them as it should.
    """
    world.join()
    facts, directory, content = world.facts(), world.enrolment.directory, content_of(model(1))
    preparing = Preparing(facts, world.enrolment.names(), 4, directory=directory, corrupt=1)
    for index in world.all:
        preparing.add(index, world.light(world.parties[index], facts.request(directory.encoded).encode()))
    collecting = preparing.close(world.content_digest(0, content, "train", "g"))
    for index in world.all:
        reply = world.parties[index].ask(records.attach(content, collecting.request(index).encode(), world.run_config(index)))
        message, payload = records.unmasked(reply)
        if index == LIAR:
            message, payload = on_the_way(collecting, message, payload)
        collecting.add(index, message, payload)
        vectors(collecting, index, message, payload)
    confirming = collecting.confirm()
    late(collecting)
    for index in confirming.survivors:
        confirming.add(index, world.light(world.parties[index], confirming.request().encode()))
    unmasking = confirming.close()
    for index in unmasking.asked:
        unmask = Unmask.decode(world.light(world.parties[index], unmasking.request().encode()))
        if index == LIAR:
            unmask = signed(shares(unmask), world.parties[index].key.ed25519, collecting.transcript)
        unmasking.add(index, unmask.encode())
    judge(world, unmasking)


def judge(world: Coordinator, unmasking: Unmasking) -> None:
    """Returns if the result is wrong."""
    received = model(1)
    try:
        total = unmasking.close()
        decoded = decode_sum(total.plan, total.total, len(total.survivors), received, MetricSchema.decode(total.schema))
    except PeerError:
        return  # garbage that is out of range
    found = {name: (np.asarray(mean, float) - received[name]) * decoded.total_weight for name, mean in decoded.arrays.items()}
    if same(found, true_sum(world, total.survivors)):
        named = ", ".join(f"party {index}: {drop.reason.value}" for index, drop in total.drops.items())
        raise ExactAllTheSameError(f"the sum is exact ({named or 'nobody is out'})")


def true_sum(world: Coordinator, parties: tuple[int, ...]) -> Arrays:
    numbers = [world.parties[index].number for index in parties]
    return {name: sum(examples_of(number) * update_of(number)[name] for number in numbers) for name in update_of(0)}


ALWAYS = Instead(
    "stfed.secagg.server.collecting:Collecting._waits_for",
    lambda self, party: True,
    "the first vector of a party counts, until U2 is fixed",
)


@attack("S18 S13", ExactAllTheSameError, "the sum is exact (nobody is out)", ALWAYS, who="party")
def a_second_vector(world: Coordinator) -> None:
    """The liar sends its masked vector twice, to count double."""

    def again(collecting: Collecting, index: int, message: bytes, payload: bytes) -> None:
        if index == LIAR:
            collecting.add(index, message, payload)

    honest_round(world, vectors=again)


@attack("S18", ExactAllTheSameError, "the sum is exact (nobody is out)", ALWAYS, who="party")
def a_vector_after_u2_is_fixed(world: Coordinator) -> None:
    """What arrives when the survivors have been written down would be added without its masks ever being taken off."""
    kept: list[tuple[int, bytes, bytes]] = []
    honest_round(world, vectors=lambda _, *vector: kept.append(vector), late=lambda collecting: collecting.add(*kept[LIAR]))


@attack(
    "S13 S16",
    ExactAllTheSameError,
    "party 0: a message that it did not sign",
    Instead("stfed.secagg.server.step:Round.check_signature", lambda *_: None, "what a party says is signed"),
    who="network",
)
def a_vector_replaced_on_the_way(world: Coordinator) -> None:
    """Somebody on the line puts another vector in the place of a masked one; nobody could tell by looking at it."""

    def replaced(collecting: Collecting, message: bytes, payload: bytes) -> tuple[bytes, bytes]:
        noise = payload[:3] + bytes((payload[3] ^ 0x40,)) + payload[4:]
        return replace(Masked.decode(message), payload_digest=hashlib.sha256(noise).digest()).encode(), noise

    honest_round(world, on_the_way=replaced)


@attack(
    "S15",
    ExactAllTheSameError,
    "party 0: a share that is not the one dealt",
    Instead(
        "stfed.secagg.server.unmasking:equal",
        lambda *_: True,
        "a share must fit the hash that its dealer published, a secret its commitment",
    ),
    who="party",
)
def a_wrong_share(world: Coordinator) -> None:
    """The liar returns other shares than it was dealt, signed as they should be."""
    honest_round(world, shares=lambda unmask: replace(unmask, shares=tuple((of, bytes(2) + share[2:]) for of, share in unmask.shares)))
