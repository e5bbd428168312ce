"""One model, one config, one of everything for all: what differs makes noise of the sum, and the same twice is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Message, RecordDict

from stfed.secagg.refusals import ConfirmationError, ContentReuseError
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import NothingLearnedError, least_sum, reads, same
from tests.attacks.secagg.heard import without
from tests.attacks.secagg.loot import Loot
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.training import content_of, model, update_of

VICTIM = 0
CONTENT = Instead("stfed.flower.records:content_digest", lambda content: bytes(32), "model and config are in the transcript")
FLOWERS = Instead(
    "stfed.flower.records:bound_digest",
    lambda kind, group, digest, run: digest,
    "message type, group id and run config are in the transcript",
)
NOTHING = "the coordinator has no sum at all"


def alone_in_the_sum(world: Coordinator, others: Any = None, **to_others: Any) -> None:
    """Everybody but the victim gets what makes it learn nothing; then the sum is the victim's update, if there is one.

    Args:
        world: before JOIN.
        others: content for them.
        to_others: what else is said to them only.
    """
    world.join().prepared()
    for index in world.honest:
        world.train(index) if index == VICTIM else world.train(index, content=others, **to_others)
    # The others agree among themselves; the victim, whose transcript is another one, would not sign the same.
    world.ended(world.all, without(world.honest, VICTIM))
    reads(world, VICTIM)


def idle_model() -> RecordDict:
    """The model on which every party stands still."""
    return content_of({name: np.zeros_like(value) for name, value in model(1).items()})


@attack("S5 R8", NothingLearnedError, NOTHING, CONTENT)
def another_model_for_the_victim(world: Coordinator) -> None:
    """Pasquini, Francati and Ateniese: all others get a model on which their gradients vanish."""
    alone_in_the_sum(world, idle_model())


@attack("S5 R8", NothingLearnedError, "what comes out is noise", CONTENT, semi_honest=True)
def another_model_for_the_victim_in_semi_honest_mode(world: Coordinator) -> None:
    """The same where nobody signs: everybody unmasks, and what comes out is noise."""
    world.join().prepared()
    for index in world.honest:
        world.train(index, content=None if index == VICTIM else idle_model())
    world.ended()
    naive = Loot(world, world.heard[1]).taken_off(world.honest)
    if same(naive, Loot(world, world.heard[1]).truth(world.honest)):
        return reads(world, VICTIM)
    # Every coordinate is off by a number that is as likely to be anything: none is near, and most are farther than any update goes.
    far = np.concatenate([np.abs(value).ravel() for value in naive.values()])
    assert np.median(far) > 10, "close to something"
    raise NothingLearnedError("what comes out is noise")


@attack("S5 R8", NothingLearnedError, NOTHING, CONTENT)
def another_learning_rate_for_the_victim(world: Coordinator) -> None:
    """The model is the same for all; a number in the config is 0 for everybody else."""
    alone_in_the_sum(world, content_of(model(1), rate=0.0))


@attack("S5 R8", NothingLearnedError, NOTHING, FLOWERS)
def another_group_for_the_victim(world: Coordinator) -> None:
    """Flower's group id reaches the train function too."""
    alone_in_the_sum(world, group="idle")


@attack(
    "R8 F",
    NothingLearnedError,
    NOTHING,
    Instead("stfed.flower.records:config_digest", lambda context: bytes(32), "the run config is in the transcript"),
    run_config=lambda number: {"idle": number != 0},
)
def another_run_config_for_the_victim(world: Coordinator) -> None:
    """The run config comes from the SuperLink, which may hand every node another one."""
    world.join()
    chosen = next(party.index for party in world.everybody if party.number == 0)
    world.prepared()
    for index in world.honest:
        world.train(index)
    world.ended(world.all, without(world.honest, chosen))
    reads(world, chosen)


@attack(
    "R8 F",
    NothingLearnedError,
    NOTHING,
    Instead("stfed.flower.records:config_digest", lambda context: bytes(32), "so is the series that a run belongs to"),
)
def another_series_for_the_victim(world: Coordinator) -> None:
    """Flower's Context has a number of the series of runs; the SuperLink chooses it."""
    world.join().prepared()
    for index in without(world.honest, VICTIM):
        context = world.parties[index].node.context
        context.series_id = 7
        world.parties[index].node.context = context
    for index in world.honest:
        world.train(index)
    world.ended(world.all, without(world.honest, VICTIM))
    reads(world, VICTIM)


def as_it_came(message: Message, content: RecordDict) -> Message:
    message.content = content
    return message


@attack(
    "R8 F",
    NothingLearnedError,
    "nothing below the sum over 5",
    Instead("stfed.flower.records:for_function", as_it_came, "of Flower's metadata a train function sees what is the same for all"),
)
def another_time_to_live_for_the_victim(world: Coordinator) -> None:
    """A message has a time to live, an id and a date of its own, and a train function could look at them."""
    world.join().prepared()
    for index in world.honest:
        world.train(index, ttl=3600.0 if index == VICTIM else 50.0)
    world.ended()
    reads(world, VICTIM)


@attack(
    "S3 S5",
    ConfirmationError,
    "is not its signature under this round, transcript and U2",
    Instead(
        "stfed.secagg.transcript:RoundFacts.transcript", lambda self, alive, content: bytes(32), "confirmations are bound to the transcript"
    ),
)
def the_victim_is_shown_confirmations_under_another_transcript(world: Coordinator) -> None:
    """It trained on another model than the others, who confirm the same U2; their signatures are to make it release its shares."""
    world.join().prepared()
    for index in world.honest:
        world.train(index, content=idle_model() if index == VICTIM else None)
    for index in world.honest:
        world.confirm(index, world.all)
    signed = world.heard[1].signatures
    world.unmask(VICTIM, world.all, tuple(sorted((party, signature) for (party, _, _), signature in signed.items() if party != VICTIM)))


@attack(
    "S10 R8",
    ContentReuseError,
    "worked on the very same model and config before",
    Check("stfed.secagg.party:Party.start_training", "ContentReuseError"),
)
def the_same_round_again_without_the_victim(world: Coordinator) -> None:
    """Exact differencing: one sum with the victim, one without, both on the same model; the difference is its update."""
    world.join()
    content = content_of(model(1))
    world.trained(content=content)
    world.ended()
    smaller = without(world.all, VICTIM)
    for index in smaller:
        world.told[index] = world.facts(2, cohort=smaller)
        world.prepare(index, world.told[index])
    for index in without(smaller, *world.corrupt):
        world.train(index, content=content)
    world.ended(smaller, without(smaller, *world.corrupt))
    best = least_sum(world)
    assert best is not None
    with_all, without_victim = Loot(world, world.heard[1]), Loot(world, world.heard[2])
    one, other = with_all.sum_of(world.honest), without_victim.sum_of(without(world.honest, VICTIM))
    weight = with_all.weight(VICTIM)
    difference = {name: (one[name] - other[name]) / weight for name in one}
    assert same(difference, update_of(world.parties[VICTIM].number))
