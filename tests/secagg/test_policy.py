"""A party's floor at its exact edges: the last number that is refused, and the first that is not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan
from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError
from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import CohortTooSmallError, ParametersError, PlanError, RoundOrderError
from tests.secagg.scene import Scene, plan_of

WEIGHT = TensorSpec("weight", "float32", (10, 4))
BIAS = TensorSpec("bias", "float32", (10,))


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"min_cohort": 1}, "a cohort of one is never a sum"),
        ({"min_survivors": 1}, "a sum over one party is that party's update"),
        ({"honest_survivors": 1}, "one honest party has nobody to hide among"),
        ({"min_threshold": 0}, "min_threshold is 0, it must be at least 1"),
        ({"ring_bits": (7, 64)}, "ring_bits is 7 to 64"),
        ({"ring_bits": (8, 65)}, "ring_bits is 8 to 65"),
        ({"ring_bits": (33, 32)}, "ring_bits is 33 to 32"),
        ({"clip": (0.0, 1.0)}, "clip is 0 to 1"),
        ({"clip": (1.0, math.inf)}, "clip is 1 to inf"),
        ({"clip": (math.nan, 1.0)}, "clip is nan to 1"),
        ({"max_weight": (0.0, 1.0)}, "max_weight is 0 to 1"),
        ({"max_weight": (1.0, 2.0**41)}, "max_weight is 1 to 2.199"),
        ({"max_weight": (2.0, 1.0)}, "max_weight is 2 to 1"),
        ({"max_parameters": 0}, "max_parameters is 0"),
        ({"max_skipped_rounds": -1}, "max_skipped_rounds is -1"),
        ({"eager_parties": -1}, "eager_parties is -1"),
        ({"sigma": 0}, "sigma is 0"),
        ({"sigma": 257}, "sigma is 257"),
        ({"roster": 0}, "roster is 0"),
        ({"max_rounds": 0}, "max_rounds is 0"),
        ({"tensors": (WEIGHT, WEIGHT)}, "two of the allowed tensors have the same name"),
    ],
)
def test_a_policy_that_protects_nothing_cannot_be_made(setting: dict[str, Any], match: str) -> None:
    with pytest.raises(LocalError, match=match):
        Policy(**setting)


@pytest.mark.parametrize(
    ("setting", "must"),
    [
        ({"mode": "malicious"}, "a Mode"),
        ({"gamma": "0.1"}, "a number"),
        ({"delta": None}, "a number"),
        ({"min_cohort": 3.0}, "a whole number"),
        ({"min_survivors": True}, "a whole number"),
        ({"honest_survivors": "2"}, "a whole number or None"),
        ({"ring_bits": 32}, "a tuple of two whole numbers"),
        ({"ring_bits": (8, 32.0)}, "a tuple of two whole numbers"),
        ({"clip": (1.0,)}, "a tuple of two numbers"),
        ({"clip": [0.1, 1.0]}, "a tuple of two numbers"),
        ({"clip_moves": 1}, "True or False"),
        ({"max_weight": ("1", 2)}, "a tuple of two numbers"),
        ({"noise_multiplier": "1"}, "a number or None"),
        ({"weight_keys": "num-examples"}, "a tuple of strings"),
        ({"tensors": (("w", "float32", (3,)),)}, "a tuple of TensorSpec, or None"),
        ({"config": {"lr": 1}}, "a tuple of ConfigLimit, or None"),
        ({"allow_repeats": None}, "True or False"),
    ],
)
def test_a_setting_of_the_wrong_type_is_one_sentence(setting: dict[str, Any], must: str) -> None:
    with pytest.raises(LocalError, match=f"{next(iter(setting))} of the policy is ") as caught:
        Policy(**setting)
    assert caught.value.hint == f"it must be {must}"


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.tuples(st.floats(), st.text())


@given(name=st.sampled_from(sorted(Policy.__dataclass_fields__)), value=ANYTHING)
def test_whatever_a_setting_is_it_is_a_policy_or_one_error(name: str, value: Any) -> None:
    try:
        policy = Policy(**{name: value})
    except LocalError:
        return
    assert getattr(policy, name) is value


@pytest.mark.parametrize(
    ("policy", "n", "least"),
    [
        (Policy(), 3, 3),  # C = 1, and two honest ones
        (Policy(), 10, 3),
        (Policy(), 11, 4),
        (Policy(), 100, 12),
        (Policy(gamma=0.0), 100, 2),
        (Policy(min_survivors=20), 100, 20),
        (Policy(honest_survivors=5), 100, 15),
        (Policy(roster=1000), 100, 102),  # the coordinator puts all hundred corrupt ones into the cohort
        (Policy(roster=200), 100, 22),
    ],
)
def test_the_floor_is_the_corrupt_and_enough_honest_ones(policy: Policy, n: int, least: int) -> None:
    k = n - 1
    assert policy.floor(n, k) == least
    policy.check_alive(least, n, k, "U1")
    with pytest.raises(CohortTooSmallError, match=f"U1 has {least - 1} of {n} parties, this party takes part with {least} or more"):
        policy.check_alive(least - 1, n, k, "U1")


def test_on_a_sparse_graph_no_more_than_delta_may_drop() -> None:
    policy = Policy(gamma=0.05, delta=0.05)
    assert policy.floor(100, 99) == 7
    assert policy.floor(100, 50) == 95
    policy.check_alive(95, 100, 50, "U2")
    with pytest.raises(CohortTooSmallError):
        policy.check_alive(94, 100, 50, "U2")


@pytest.mark.parametrize(
    ("policy", "least"), [(Policy(), 3), (Policy(min_cohort=8), 8), (Policy(min_survivors=9), 9), (Policy(gamma=0.6), 5)]
)
def test_the_smallest_cohort(policy: Policy, least: int) -> None:
    policy.check_cohort(least)
    for n in range(1, least):
        with pytest.raises(CohortTooSmallError, match=f"the cohort has {n} parties, this party takes part in"):
            policy.check_cohort(n)


@given(n=st.integers(3, 40), gamma=st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.3]), delta=st.sampled_from([0.0, 0.05, 0.1]))
def test_what_the_calculator_chooses_is_taken_and_one_share_less_is_not(n: int, gamma: float, delta: float) -> None:
    policy = Policy(gamma=gamma, delta=delta)
    try:
        chosen = choose(n, gamma, delta)
    except LocalError:
        return
    policy.check_parameters(n, chosen.k, chosen.t)
    with pytest.raises(ParametersError):
        policy.check_parameters(n, chosen.k, chosen.t - 1)


def test_t_is_above_the_corrupt_count() -> None:
    policy = Policy(gamma=0.45, delta=0.5)  # C = 9 of 20; drops leave no room for a majority
    policy.check_parameters(20, 19, 10)
    with pytest.raises(ParametersError, match="secrecy: t = 9 of k = 19"):
        policy.check_parameters(20, 19, 9)


def test_on_the_complete_graph_t_is_a_majority_where_drops_allow_it() -> None:
    policy = Policy(gamma=0.0, delta=0.1)
    policy.check_parameters(20, 19, 10)
    with pytest.raises(ParametersError, match="t = 9 shares reconstruct a secret, this party asks for 10 or more"):
        policy.check_parameters(20, 19, 9)
    Policy(gamma=0.0, delta=0.5).check_parameters(20, 19, 9)


def test_on_the_complete_graph_drops_are_the_coordinators_worry_and_on_a_sparse_one_they_are_not() -> None:
    Policy(gamma=0.1, delta=0.3).check_parameters(20, 19, 19)
    with pytest.raises(ParametersError, match="correctness"):
        Policy(gamma=0.05, delta=0.05).check_parameters(100, 60, 60)


def test_malicious_mode_takes_the_complete_graph_only_and_more_than_half_above_the_corrupt() -> None:
    policy = Policy(mode=Mode.MALICIOUS)
    policy.check_parameters(20, 19, 11)  # 2t > k + C = 21
    with pytest.raises(ParametersError, match="secrecy: t = 10"):
        policy.check_parameters(20, 19, 10)
    with pytest.raises(ParametersError, match="in malicious mode"):
        policy.check_parameters(100, 60, 40)
    with pytest.raises(ParametersError, match="secrecy"):
        Policy(mode=Mode.MALICIOUS, roster=40).check_parameters(20, 19, 11)  # C = 4


def test_plans_at_the_edges_of_the_policy() -> None:
    plan = plan_of(10, 40, 24)
    words = plan.vector_length + plan.wide_length
    Policy(ring_bits=(24, 24), clip=(8.0, 8.0), max_parameters=words).check_plan(plan, 10, 9)
    for policy, match in (
        (Policy(ring_bits=(25, 64)), "the ring has 24 bits, this party allows 25 to 64"),
        (Policy(ring_bits=(8, 23)), "the ring has 24 bits, this party allows 8 to 23"),
        (Policy(clip=(1.0, 7.99)), "the clip is 8, this party allows 1 to 7.99"),
        (Policy(clip=(8.01, 9.0)), "the clip is 8, this party allows 8.01 to 9"),
        (Policy(max_parameters=words - 1), f"the vector has {words} words, this party allows {words - 1}"),
        (Policy(weight_keys=("steps", "tokens")), "the weight is 'num-examples', this party allows 'steps', 'tokens'"),
        (Policy(weight_keys=()), "the weight is 'num-examples'"),
    ):
        with pytest.raises(PlanError, match=match):
            policy.check_plan(plan, 10, 9)
    for n in (9, 11):
        with pytest.raises(PlanError, match=f"sized for 10 parties, the cohort has {n}"):
            Policy().check_plan(plan, n, n - 1)


def test_a_uniform_weight_needs_no_name() -> None:
    Policy(weight_keys=()).check_plan(plan_of(10, uniform=True, max_weight=1.0), 10, 9)


def test_small_cohorts_are_complete_graphs() -> None:
    policy = Policy(gamma=0.0, delta=0.0)
    chosen = choose(32, 0.0, 0.0, graph="sparse")
    with pytest.raises(ParametersError, match="up to 32 parties this party takes part in complete graphs only"):
        policy.check_parameters(32, chosen.k, chosen.t)
    chosen = choose(33, 0.0, 0.0, graph="sparse")
    assert chosen.k < 32
    with pytest.raises(ParametersError, match="a ring has as many to the left as to the right"):
        policy.check_parameters(33, 31, 16)
    policy.check_parameters(33, chosen.k, chosen.t)


def test_a_largest_weight_outside_the_policy() -> None:
    policy = Policy(max_weight=(10.0, 500.0))
    for weight in (10.0, 500.0):
        policy.check_plan(plan_of(10, max_weight=weight), 10, 9)
    for weight in (9.9, 501.0):
        with pytest.raises(PlanError, match=f"the largest weight is {weight:g}, this party allows 10 to 500"):
            policy.check_plan(plan_of(10, max_weight=weight), 10, 9)
    policy.check_plan(plan_of(10, uniform=True, max_weight=1.0), 10, 9)  # everybody weighs 1, and nothing is counted
    with pytest.raises(PlanError, match=r"the largest weight is 0\.5"):
        Policy().check_plan(plan_of(10, max_weight=0.5), 10, 9)


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ((WEIGHT, BIAS, TensorSpec("probe", "float32", (1,))), "the model has a tensor 'probe', which this party does not allow"),
        ((WEIGHT,), "the model has no tensor 'bias', without which this party does not take part"),
        ((WEIGHT, TensorSpec("bias", "float32", (11,))), r"the tensor 'bias' is float32\[11\], this party allows float32\[10\]"),
        ((WEIGHT, TensorSpec("bias", "float64", (10,))), r"the tensor 'bias' is float64\[10\], this party allows float32\[10\]"),
        ((TensorSpec("weight", "float32", (4, 10)), BIAS), r"the tensor 'weight' is float32\[4, 10\]"),
        ((TensorSpec("Weight", "float32", (10, 4)), BIAS), "the model has a tensor 'Weight'"),
        ((TensorSpec("\x1b[2J", "float32", (1,)),), r"the model has a tensor '\\x1b\[2J'"),
    ],
)
def test_a_model_that_is_not_the_one_that_was_agreed_on(tensors: tuple[TensorSpec, ...], match: str) -> None:
    policy = Policy(tensors=(WEIGHT, BIAS))
    policy.check_plan(EncodingPlan((WEIGHT, BIAS), 10), 10, 9)
    policy.check_plan(EncodingPlan((BIAS, WEIGHT), 10), 10, 9)
    policy.check_plan(EncodingPlan((), 10), 10, 9)  # an evaluation sends no model back
    Policy().check_plan(EncodingPlan(tensors, 10), 10, 9)
    with pytest.raises(PlanError, match=match):
        policy.check_plan(EncodingPlan(tensors, 10), 10, 9)
    with pytest.raises(PlanError, match=match):
        policy.check_tensors(tensors)


def test_a_model_without_tensors_is_not_the_one_that_was_agreed_on() -> None:
    with pytest.raises(PlanError, match="the model has no tensor 'bias'"):
        Policy(tensors=(WEIGHT, BIAS)).check_tensors(())


def test_a_round_over_the_limit() -> None:
    Policy().check_round(1 << 31)
    Policy(max_rounds=3).check_round(3)
    with pytest.raises(RoundOrderError, match="round 4 is over this party's limit of 3 sums per run"):
        Policy(max_rounds=3).check_round(4)


def test_a_party_takes_part_in_no_more_sums_of_a_run_than_it_allows() -> None:
    scene = Scene()
    scene.party.policy = replace(scene.party.policy, max_rounds=1)
    scene.finishes()
    scene.at("prepare")
    with scene.refuses(RoundOrderError, "round 2 is over this party's limit of 1 sums per run"):
        scene.answer(scene.request)
    scene.party.policy = replace(scene.party.policy, max_rounds=2)
    scene.finishes()
