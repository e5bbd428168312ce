"""A sum tells nothing but the sum: two sets of parties with equal sums of everything give the same bytes.

Sums of the single digits do not have this property: the carries that they leave out tell how a sum is made up. `digit_sums` is what the
coordinator would see then, and the tests ask that it tells their worlds apart, so they have something to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan, Vector, encode_update, pack_vector

from .helpers import FLOATS, INTEGERS, silent

Model = dict[str, NDArray[Any]]
RINGS = (11, 16, 20, 32, 33, 64)
LARGEST = 10_000


class Member(NamedTuple):
    trained: Model
    weight: float
    metrics: dict[str, float]


def vectors_of(plan: EncodingPlan, received: Model, world: Sequence[Member]) -> list[Vector]:
    # the same dither for all, and no noise: what a party adds at random is no part of the claim
    return [encode_update(plan, received, *member, silent).vector for member in world]


def coordinator_sees(plan: EncodingPlan, vectors: Sequence[Vector]) -> bytes:
    total = Vector.zeros(plan)
    for vector in vectors:
        total.add(vector, plan)
    total.reduce(plan)
    return pack_vector(total, plan)


def digit_sums(vectors: Sequence[Vector]) -> bytes:
    return bytes(np.array([vector.wide for vector in vectors], np.int64).sum(axis=0))


@pytest.mark.parametrize("ring_bits", RINGS)
def test_three_weights_of_one_sum(ring_bits: int) -> None:
    received: Model = {"w": np.zeros(3, np.float32), "n": np.array([7, -7]), "f": np.array(True)}
    trained: Model = {**received, "n": np.array([8, 9000]), "f": np.array(False)}
    plan = EncodingPlan.for_arrays(received, parties=3, ring_bits=ring_bits, max_weight=2000, metric_slots=2)
    seen, leaked = set(), set()
    for weights in ([1000, 1000, 24], [1500, 476, 48], [2000, 24, 0], [674.5, 674.75, 674.75]):
        vectors = vectors_of(plan, received, [Member(trained, weight, {"loss": 0.3, "steps": 2**40}) for weight in weights])
        seen.add(coordinator_sees(plan, vectors))
        leaked.add(digit_sums(vectors))
    assert len(seen) == 1
    assert len(leaked) == 4


@pytest.mark.parametrize("ring_bits", RINGS)
def test_metrics_and_counters_of_one_sum(ring_bits: int) -> None:
    received: Model = {"n": np.zeros(2, np.int64)}
    plan = EncodingPlan.for_arrays(received, parties=2, ring_bits=ring_bits, max_weight=2000, metric_slots=1)
    seen, leaked = set(), set()
    for left, right in ((0, 1_000_000), (500_000, 500_000), (1, 999_999), (-(2**31), 2**31 + 1_000_000)):
        world = [Member({"n": np.array([value, -value])}, 1700, {"correct": value}) for value in (left, right)]
        vectors = vectors_of(plan, received, world)
        seen.add(coordinator_sees(plan, vectors))
        leaked.add(digit_sums(vectors))
    assert len(seen) == 1
    assert len(leaked) > 1


def moved(values: NDArray[Any], low: float, high: float, generator: np.random.Generator) -> NDArray[Any]:
    """Other rows with the same sum: twenty times, one row gives another some of what it can spare and the other can take."""
    values = values.copy()
    for _ in range(20):
        giver, taker = generator.choice(len(values), 2, replace=False)
        most = np.minimum(values[giver] - low, high - values[taker])
        amount = generator.integers(0, most.astype(np.int64), endpoint=True)
        values[giver] -= amount
        values[taker] += amount
    return values


def random_worlds(generator: np.random.Generator) -> tuple[Model, list[Member], list[Member]]:
    """A received model and two sets of parties with the same sums.

    Some parties have one model, the same metrics, and a total weight that is made up differently. Others have one weight, and the sums of
    every metric and every element are made up differently. Two have a weight out of range, one over and one under it.
    """
    limits = {"int64": (-(2**31), 2**31 - 1), "uint64": (0, 2**32 - 1), "bool": (0, 1)}
    limits |= {dtype: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for dtype in INTEGERS if dtype not in limits}
    received: Model = {dtype: generator.integers(*limits[dtype], 5, np.int64, endpoint=True).astype(dtype) for dtype in limits}
    received |= {dtype: generator.normal(size=5).astype(dtype) for dtype in FLOATS}

    def model(integers: dict[str, NDArray[Any]], floats: dict[str, NDArray[Any]]) -> Model:
        return {name: (integers[name] if name in integers else base + floats[name]).astype(base.dtype) for name, base in received.items()}

    def integers(rows: int) -> dict[str, NDArray[Any]]:
        return {dtype: generator.integers(low, high, (rows, 5), np.int64, endpoint=True) for dtype, (low, high) in limits.items()}

    def row(table: dict[str, NDArray[Any]], at: int) -> dict[str, NDArray[Any]]:
        return {name: values[at] for name, values in table.items()}

    unmoved = dict.fromkeys(FLOATS, np.zeros(5))
    shared = Member(model(row(integers(1), 0), unmoved), 0, {"a": float(generator.normal()), "b": int(generator.integers(2**50))})
    count = int(generator.integers(2, 5))
    weights = generator.integers(0, 8 * LARGEST, count, endpoint=True)
    worlds = [
        [shared._replace(weight=int(eighth) / 8) for eighth in eighths] for eighths in (weights, moved(weights, 0, 8 * LARGEST, generator))
    ]

    count, weight = int(generator.integers(2, 5)), round(float(generator.uniform(0, LARGEST)), 3)
    tables, steps = integers(count), generator.integers(-(2**40), 2**40, (count, 2))
    deltas = {dtype: generator.normal(size=(count, 5)) * 5 for dtype in FLOATS}  # some of them clipped
    for world in worlds:
        for at in range(count):
            metrics = {"a": int(steps[at, 0]) / 2**10, "b": int(steps[at, 1])}
            world.append(Member(model(row(tables, at), row(deltas, at)), weight, metrics))
        tables = {dtype: moved(tables[dtype], *limits[dtype], generator) for dtype in limits}
        steps = moved(steps, -(2**41), 2**41, generator)
        deltas = {dtype: generator.permuted(values, axis=0) for dtype, values in deltas.items()}

    for world in worlds:
        over, under = generator.integers(1, 2**50, 2).tolist()
        world += [shared._replace(weight=LARGEST + over), shared._replace(weight=-under)]
        generator.shuffle(world)
    return received, worlds[0], worlds[1]


@pytest.mark.parametrize("ring_bits", RINGS)
def test_random_worlds_of_equal_sums(ring_bits: int) -> None:
    generator = np.random.default_rng(ring_bits)
    told_apart = 0
    for _ in range(15):
        received, one, other = random_worlds(generator)
        plan = EncodingPlan.for_arrays(received, parties=len(one), ring_bits=ring_bits, clip=4.0, max_weight=LARGEST, metric_slots=3)
        vectors, others = vectors_of(plan, received, one), vectors_of(plan, received, other)
        assert coordinator_sees(plan, vectors) == coordinator_sees(plan, others)
        assert {pack_vector(vector, plan) for vector in vectors} != {pack_vector(vector, plan) for vector in others}
        told_apart += digit_sums(vectors) != digit_sums(others)
    assert told_apart == 15
