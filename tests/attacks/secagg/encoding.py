"""The encoding: a sum in which one party stands out, that wraps, or that is over a model made to leak."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message, MetricRecord, RecordDict

from stfed.encoding import EncodingPlan
from stfed.secagg.refusals import PlanError
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import same
from tests.attacks.secagg.heard import plan_of
from tests.attacks.secagg.loot import Loot
from tests.attacks.secagg.registry import attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.training import model, train, update_of
from tests.attacks.secagg.world import Setting

PLAN = "stfed.secagg.policy:Policy.check_plan"
PINNED = Check("stfed.secagg.party:Party._pin", "PlanError")
VICTIM = 0


def asked(world: Coordinator, **settings: Any) -> None:
    """A round with this encoding."""
    world.join()
    world.prepare(VICTIM, world.facts(plan=plan_of(6, **settings)))


def with_a_rare_disease(number: int, message: Message, context: Context) -> RecordDict:
    """Everybody reports how many of its patients have it: all but party 0 none."""
    reply = train(number, message, context)
    (metrics,) = reply.metric_records.values()
    return RecordDict({"arrays": reply["arrays"], "metrics": MetricRecord({**metrics, "rare-disease": int(number == 0)})})


@attack(
    "S9 S21",
    PlanError,
    "the weight is 'rare-disease', this party allows 'num-examples'",
    Check(PLAN, "PlanError", "the weight is"),
    function=with_a_rare_disease,
)
def a_weight_that_is_zero_for_all_but_one(world: Coordinator) -> None:
    """The coordinator names the metric that weights the parties. If only the victim has any of it, the mean is its update."""
    world.join()
    chosen = next(party.index for party in world.everybody if party.number == 0)
    facts = world.facts(plan=plan_of(6, weight_key="rare-disease"))
    world.prepared(facts, first=[chosen])
    for index in world.honest:
        world.train(index)
    world.ended()
    loot = Loot(world, world.heard[facts.header.round])
    assert same(loot.taken_off(world.honest), update_of(0))


@attack("S14", PlanError, "the encoding is sized for 2 parties, the cohort has 6", Check(PLAN, "PlanError", "sized for"))
def an_encoding_sized_for_fewer_parties(world: Coordinator) -> None:
    """The sum of six would wrap, and a wrong mean would look like a right one."""
    world.join()
    world.prepare(VICTIM, world.facts(plan=plan_of(2)))


@attack(
    "S21",
    PlanError,
    "the ring has 64 bits, this party allows 16 to 32",
    Check(PLAN, "PlanError", "the ring has"),
    setting=Setting(policy="[encoding]\nring_bits = [16, 32]\n"),
)
def a_ring_outside_of_the_owners_bounds(world: Coordinator) -> None:
    """More bits than the owner wants to pay for, or fewer than the result needs."""
    asked(world, ring_bits=64)


@attack("S21 S13", PlanError, "the clip is 0.0001, this party allows 0.001 to", Check(PLAN, "PlanError", "the clip is"))
def a_clip_so_small_that_a_sum_shows_signs(world: Coordinator) -> None:
    """Where everything is cut to plus or minus one unit, a sum counts how many parties go up."""
    asked(world, clip=1e-4)


@attack("S21", PlanError, "the largest weight is 0.5, this party allows 1 to", Check(PLAN, "PlanError", "the largest weight"))
def a_largest_weight_below_one_example(world: Coordinator) -> None:
    """How many weights were cut off is in the sum: a bound is one question about example counts."""
    asked(world, max_weight=0.5)


@attack("S10 S21", PlanError, "is another one than in the first round of this run", PINNED)
def a_bound_that_changes_from_round_to_round(world: Coordinator) -> None:
    """One comparison after another, of the same numbers, until they are known."""
    world.join().whole_round()
    world.prepare(VICTIM, world.facts(plan=plan_of(6, clip=0.5)))


MOVES = Setting(policy="[encoding]\nclip = [0.25, 64]\nclip_moves = true\n")


@attack("S10 S21", PlanError, "is another one than in the first round of this run", PINNED, setting=MOVES)
def a_clip_between_those_that_the_owner_lets_it_take(world: Coordinator) -> None:
    """Where a clip may move, it moves among powers of two: a coordinator that could put it anywhere would close in on a value."""
    world.join().whole_round()
    world.prepare(VICTIM, world.facts(plan=plan_of(6, clip=0.75)))


@attack("S10 S21", PlanError, "the clip is 0.125, this party allows 0.25 to 64", Check(PLAN, "PlanError", "the clip is"), setting=MOVES)
def a_clip_that_moves_below_the_owners_smallest(world: Coordinator) -> None:
    """What is cut off at one clip and not at another shows in the difference of two sums; at a small clip that is nearly everything."""
    world.join().whole_round()
    world.prepare(VICTIM, world.facts(plan=plan_of(6, clip=0.125)))


ANY_MODEL = Instead("stfed.secagg.policy:Policy.check_tensors", lambda *_: None, "names, dtypes and shapes are the owner's")
KNOWN = Setting(policy='[model.tensors]\nweight = { dtype = "float32", shape = [6, 4] }\nbias = { dtype = "float32", shape = [5] }\n')


@attack("S11", PlanError, "the model has a tensor 'imprint', which this party does not allow", ANY_MODEL, setting=KNOWN)
def a_model_with_a_layer_that_imprints_its_input(world: Coordinator) -> None:
    """Fowl et al.'s and LOKI's models carry single records through a sum. A party that names its model trains no other."""
    arrays = {**model(), "imprint": np.zeros((64, 24), np.float32)}
    asked(world, arrays=arrays)


@attack("S11", PlanError, "the tensor 'weight' is float32[600, 4], this party allows float32[6, 4]", ANY_MODEL, setting=KNOWN)
def a_layer_that_is_wider_than_it_should_be(world: Coordinator) -> None:
    """The same with a layer of a known name."""
    asked(world, arrays={**model(), "weight": np.zeros((600, 4), np.float32)})


@attack(
    "S19",
    PlanError,
    "words, this party allows 1000",
    Check(PLAN, "PlanError", "the vector has"),
    setting=Setting(policy="[model]\nmax_parameters = 1000\n"),
)
def a_model_of_a_million_parameters_by_its_description(world: Coordinator) -> None:
    """A few bytes that ask for gigabytes of vector: the size is looked at before anything of it is made."""
    plan = EncodingPlan.for_arrays({"w": np.zeros(1_000_000, np.float32)}, parties=6, clip=1.0, max_weight=64.0)
    world.join()
    world.prepare(VICTIM, world.facts(plan=plan))
