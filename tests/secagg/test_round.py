"""Whole rounds of the core: client and server states against each other, every drop, every ring."""

from __future__ import annotations

import contextlib
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, TensorSpec, Vector, encode_update
from stfed.encoding.wide import LIMB_BITS
from stfed.errors import QuorumError
from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import LocalProtocol


def plan_of(n: int, size: int = 300, ring_bits: int = 32) -> EncodingPlan:
    tensors = (TensorSpec("w", "float32", (size,)), TensorSpec("steps", "int64", (3,)))
    return EncodingPlan(tensors, parties=n, ring_bits=ring_bits, metric_slots=2)


def vectors_of(plan: EncodingPlan, n: int, seed: int = 0) -> list[Vector]:
    """Any words at all: the core adds vectors, whatever they mean."""
    rng = np.random.default_rng(seed)
    ring = [rng.integers(0, 1 << plan.ring_bits, plan.vector_length, dtype=np.uint64).astype(plan.lane) for _ in range(n)]
    return [Vector(words, rng.integers(0, 1 << LIMB_BITS, plan.wide_length, dtype=np.uint32)) for words in ring]


def copy(vector: Vector) -> Vector:
    return Vector(vector.ring.copy(), vector.wide.copy())


def numbers(plan: EncodingPlan, wide: np.ndarray) -> list[tuple[int, int]]:
    """The wide numbers as Python integers, each with its modulus."""
    found, at = [], 0
    for limbs, count in plan.wide_groups:
        group = wide[at : at + limbs * count].reshape(limbs, count)
        found += [
            (sum(int(limb) << (LIMB_BITS * place) for place, limb in enumerate(column)), 1 << (LIMB_BITS * limbs)) for column in group.T
        ]
        at += limbs * count
    return found


def assert_sum(plan: EncodingPlan, total: Vector, vectors: list[Vector], nodes) -> None:
    ring = np.zeros(plan.vector_length, np.uint64)
    for node in nodes:
        ring += vectors[node].ring.astype(np.uint64)
    np.testing.assert_array_equal(total.ring, (ring & np.uint64((1 << plan.ring_bits) - 1)).astype(plan.lane))
    columns = zip(*(numbers(plan, vectors[node].wide) for node in nodes), strict=True)
    assert numbers(plan, total.wide) == [(sum(value for value, _ in column) % column[0][1], column[0][1]) for column in columns]


def test_a_round_without_drops_is_the_exact_sum():
    n = 6
    plan, protocol = plan_of(n), LocalProtocol(n)
    vectors = vectors_of(plan, n)
    result = protocol.sum_round(plan, choose(n, 0.1, 0.1), lambda node: copy(vectors[node]))
    assert len(result.survivors) == n
    assert_sum(plan, result.total, vectors, range(n))


def test_sums_that_are_equal_look_equal_to_the_coordinator():
    """The wide numbers are summed as numbers: how a sum is made up, digit by digit, is not in what the coordinator gets."""
    n = 3
    plan = EncodingPlan((TensorSpec("w", "float32", (4,)),), parties=n, metric_slots=1)
    model = {"w": np.zeros(4, np.float32)}
    totals = []
    for weights, losses in (([1000, 1000, 24], [0.3, 0.3, 0.3]), ([1500, 476, 48], [0.3, 0.3, 0.3])):
        protocol = LocalProtocol(n)
        updates = [
            encode_update(plan, model, model, weight, {"loss": loss}, lambda out: out.fill(0))
            for weight, loss in zip(weights, losses, strict=True)
        ]
        totals.append(protocol.sum_round(plan, choose(n, 0.1, 0.1), lambda node, updates=updates: updates[node].vector).total)
    assert totals[0].wide.tolist() == totals[1].wide.tolist()


@pytest.mark.parametrize("ring_bits", [8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64])
def test_every_ring(ring_bits):
    n = 5
    plan, protocol = plan_of(n, ring_bits=ring_bits), LocalProtocol(n)
    vectors = vectors_of(plan, n)
    result = protocol.sum_round(plan, choose(n, 0.1, 0.1), lambda node: copy(vectors[node]), drops={"train": [3]})
    assert_sum(plan, result.total, vectors, [0, 1, 2, 4])


@pytest.mark.parametrize("step", ["join", "prepare", "train", "unmask"])
def test_one_drop_at_each_step_never_loses_the_round(step):
    n = 10
    cohort = n - 1 if step == "join" else n
    plan, protocol = plan_of(cohort), LocalProtocol(n)
    vectors = vectors_of(plan, n)
    result = protocol.sum_round(plan, choose(cohort, 0.1, 0.1), lambda node: copy(vectors[node]), drops={step: [4]})
    summed = [node for node in range(n) if node != 4 or step == "unmask"]
    assert_sum(plan, result.total, vectors, summed)


def test_drops_at_every_step_at_once_and_over_many_rounds():
    n = 12
    plan, protocol = plan_of(n), LocalProtocol(n)
    parameters = choose(n, 0.1, 0.1)
    for seed in range(4):
        vectors = vectors_of(plan, n, seed)
        result = protocol.sum_round(
            plan, parameters, lambda node, vectors=vectors: copy(vectors[node]), drops={"prepare": [seed], "train": [5], "unmask": [7]}
        )
        assert_sum(plan, result.total, vectors, set(range(n)) - {seed, 5})


def test_too_few_answers_to_unmask_name_the_missing_and_release_nothing():
    n = 6
    plan, protocol = plan_of(n), LocalProtocol(n)
    parameters = choose(n, 0.1, 0.1)
    vectors = vectors_of(plan, n)
    missing = list(range(n - parameters.t + 1))
    with pytest.raises(QuorumError, match="fewer than t") as caught:
        protocol.sum_round(plan, parameters, lambda node: copy(vectors[node]), drops={"unmask": missing})
    assert set(caught.value.missing) == {f"node {node}" for node in missing}


def test_a_harary_graph_with_drops():
    n = 60
    plan, protocol = plan_of(n, 50), LocalProtocol(n, Policy(gamma=0.05, delta=0.05))
    parameters = choose(n, 0.05, 0.05)
    assert parameters.k < n - 1
    vectors = vectors_of(plan, n)
    result = protocol.sum_round(plan, parameters, lambda node: copy(vectors[node]), drops={"prepare": [1], "train": [2], "unmask": [3]})
    assert_sum(plan, result.total, vectors, set(range(n)) - {1, 2})


@pytest.mark.parametrize("eager_parties", [512, 10])
def test_sparse_rounds_follow_each_other_though_everybody_has_other_neighbours_in_each(eager_parties):
    n = 40
    plan, protocol = plan_of(n, 20), LocalProtocol(n, Policy(gamma=0.05, delta=0.05, eager_parties=eager_parties))
    parameters = choose(n, 0.05, 0.05, graph="sparse")
    for seed in range(3):
        protocol.round += seed  # skipped round numbers are ratcheted past
        vectors = vectors_of(plan, n, seed)
        result = protocol.sum_round(plan, parameters, lambda node, vectors=vectors: copy(vectors[node]), drops={"train": [seed]})
        assert_sum(plan, result.total, vectors, set(range(n)) - {seed})


def test_more_than_1024_parties_are_exact():
    n = 1100
    plan, protocol = plan_of(n, 8), LocalProtocol(n, Policy(gamma=0.01, delta=0.01), keep_log=False)
    vectors = vectors_of(plan, n)
    result = protocol.sum_round(plan, choose(n, 0.01, 0.01), lambda node: copy(vectors[node]), drops={"train": [77, 1024]})
    assert_sum(plan, result.total, vectors, set(range(n)) - {77, 1024})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_drops_give_the_exact_sum_or_a_clean_failure(data):
    n = data.draw(st.integers(3, 9))
    steps = data.draw(st.lists(st.sampled_from(["prepare", "train", "unmask", "never"]), min_size=n, max_size=n))
    drops = {step: [node for node in range(n) if steps[node] == step] for step in ("prepare", "train", "unmask")}
    ring_bits = data.draw(st.sampled_from([8, 13, 32, 40]))
    plan, protocol = plan_of(n, 40, ring_bits), LocalProtocol(n)
    vectors = vectors_of(plan, n, n)
    parameters = choose(n, 0.1, 0.1)
    survivors = {node for node in range(n) if steps[node] in ("unmask", "never")}
    # With enough parties left a failure would be wrong: everybody's holders are all the others.
    alive = [node for node in range(n) if steps[node] == "never"]
    can_fail = len(alive) - 1 < parameters.t or len(survivors) < protocol.policy.floor(n, n - 1)
    result = None
    with contextlib.suppress(QuorumError) if can_fail else contextlib.nullcontext():
        result = protocol.sum_round(plan, parameters, lambda node: copy(vectors[node]), drops=drops)
    if result is not None:
        assert_sum(plan, result.total, vectors, survivors)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_random_drops_in_malicious_mode_give_the_exact_sum_or_a_clean_failure(data):
    n = data.draw(st.integers(4, 9))
    steps = data.draw(st.lists(st.sampled_from(["prepare", "train", "confirm", "unmask", *6 * ["never"]]), min_size=n, max_size=n))
    drops = {step: [node for node in range(n) if steps[node] == step] for step in ("prepare", "train", "confirm", "unmask")}
    plan, protocol = plan_of(n, 40), LocalProtocol(n, Policy(mode=Mode.MALICIOUS))
    vectors = vectors_of(plan, n, n)
    parameters = choose(n, 0.1, 0.1, mode=Mode.MALICIOUS)
    summed = {node for node in range(n) if steps[node] not in ("prepare", "train")}
    confirmed = [node for node in summed if steps[node] != "confirm"]
    answering = [node for node in confirmed if steps[node] != "unmask"]
    can_fail = len(answering) - 1 < parameters.t or len(confirmed) < parameters.quorum or len(summed) < protocol.policy.floor(n, n - 1)
    result = None
    with contextlib.suppress(QuorumError) if can_fail else contextlib.nullcontext():
        result = protocol.sum_round(plan, parameters, lambda node: copy(vectors[node]), drops=drops)
    if result is not None:
        assert_sum(plan, result.total, vectors, summed)
        assert {protocol.enrolment.nodes[index] for index in result.survivors} == summed


@pytest.mark.parametrize("step", ["join", "prepare", "train", "confirm", "unmask"])
def test_malicious_rounds_follow_each_other_with_a_drop_at_every_step(step):
    n = 8
    protocol = LocalProtocol(n, Policy(mode=Mode.MALICIOUS))
    cohort = n - (step == "join")
    plan, parameters = plan_of(cohort), choose(cohort, 0.1, 0.1, mode=Mode.MALICIOUS, roster=n)
    for seed in range(3):
        vectors = vectors_of(plan, n, seed)
        result = protocol.sum_round(plan, parameters, lambda node, vectors=vectors: copy(vectors[node]), drops={step: [4]})
        assert_sum(plan, result.total, vectors, [node for node in range(n) if node != 4 or step in ("confirm", "unmask")])


def test_the_coordinator_receives_uniform_words_from_each_party():
    n = 5
    plan, protocol = plan_of(n, 50_000), LocalProtocol(n)
    protocol.sum_round(plan, choose(n, 0.1, 0.1), lambda node: Vector.zeros(plan))
    payloads = [data for step, direction, _, data in protocol.log if step == "train" and direction == "up" and len(data) > 100_000]
    assert len(payloads) == n
    for one, other in combinations(payloads, 2):
        bits = np.unpackbits(np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8))
        assert abs(bits.mean() - 0.5) < 0.01
