"""The sparse graph of malicious mode, where every party draws its share-holders.

It takes more than 128 parties to be secure; here are nine, or six, so the party's own check of k and t is out from the beginning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stfed.secagg.messages import ShareOf
from stfed.secagg.refusals import ParametersError, ShareHoldersError
from tests.attacks.secagg.cohort import ALIVE, HOLDERS, PARAMETERS
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import NothingLearnedError, reads, same
from tests.attacks.secagg.heard import Parties, without
from tests.attacks.secagg.loot import Loot
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Instead
from tests.attacks.secagg.world import Setting

NINE, VICTIM = Setting(n=9), 0


def masks_with_dealers_only(real: Any, self: Any, request: Any, content: bytes, policy: Any) -> Any:
    """A party that masks against those whose shares the coordinator passes on, and not against those that it drew itself."""
    return real.func(replace(self, holders=()), request, content, policy)


@attack(
    "S4 R6",
    NothingLearnedError,
    "the coordinator has no",  # by chance, everybody who drew the victim was drawn by it: then it is the sum over all eight
    Instead(
        "stfed.secagg.client.prepared:Prepared.train",
        masks_with_dealers_only,
        "a party masks against whom it drew, whatever is passed on",
        wraps=True,
    ),
    setting=NINE,
    given=(PARAMETERS, ALIVE),
)
def in_edges_left_out_on_a_drawn_graph(world: Coordinator) -> None:
    """The message names the dealers whose shares it brings, and brings those of the corrupt party only, if it drew the victim."""
    world.join()
    facts = world.prepared(world.facts(k=5, t=4), first=world.honest)
    corrupt = tuple(dealer for dealer in world.dealers(VICTIM, world.all, facts) if dealer in world.corrupt)
    world.train(VICTIM, dealers=corrupt)
    for index in without(world.honest, VICTIM):
        world.train(index)
    world.ended()
    if not masked_only_against(world, corrupt):
        reads(world, VICTIM)


def masked_only_against(world: Coordinator, partners: Parties) -> bool:
    """Whether the victim's update appears when the masks with these are taken off."""
    heard = world.heard[world.round]
    views = {VICTIM: replace(heard.views[VICTIM], partners=partners)}
    supposed = Loot(world, replace(heard, views=views))
    return supposed.secret(VICTIM, ShareOf.SELF_SEED) is not None and same(supposed.taken_off((VICTIM,)), supposed.truth((VICTIM,)))


@attack("R7 S4", ShareHoldersError, "t = 4 are needed", HOLDERS, setting=NINE, given=(PARAMETERS, ALIVE))
def a_u1_without_the_holders_that_the_victim_drew(world: Coordinator) -> None:
    """They are in everybody else's U1, so that the victim masks against none of them and they give up its b."""
    world.join()
    world.prepared(world.facts(k=5, t=4), first=world.honest)
    holders = world.heard[world.round].prepares[VICTIM][0].holders  # type: ignore[attr-defined]
    few = tuple(index for index in world.all if index not in holders or index in world.corrupt)
    named = tuple(index for index in world.dealers(VICTIM, few, world.told[VICTIM]) if index in world.corrupt)
    world.train(VICTIM, few, dealers=named)
    others = without(world.honest, VICTIM)
    for index in others:
        world.train(index)
    world.ended(among=others)
    reads(world, VICTIM)


@attack("S4 R12", ParametersError, "complete graph", PARAMETERS, setting=Setting(n=6, corrupt=2, members=11))
def a_few_holders_drawn_again_until_all_are_corrupt(world: Coordinator) -> None:
    """Two holders of five, drawn by the victim itself: the coordinator gives up one round after another until it draws the wrong ones."""
    world.join()
    for round_ in range(1, 1000):
        facts = world.facts(round_, k=2, t=2)
        prepare = world.prepare(VICTIM, facts)
        if prepare.holders == world.corrupt:  # type: ignore[attr-defined]
            break
    for index in world.corrupt:
        world.prepare(index, facts)
    world.train(VICTIM, dealers=())
    reads(world, VICTIM)
