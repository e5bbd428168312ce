"""What the encoding tests share: scripted randomness, sums in Python integers, and the weighted mean in exact rational arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan, Vector
from stfed.encoding.arrays import INTEGER_CHANGE
from stfed.encoding.plan import METRIC_NOISE

Fill = Callable[[NDArray[np.uint8]], None]
FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
# the largest relative error of rounding to nearest, and half the smallest positive number
ROUNDING = {"float16": (2.0**-11, 2.0**-25), "float32": (2.0**-24, 2.0**-150), "float64": (2.0**-53, 0.0), "bfloat16": (2.0**-8, 2.0**-130)}


def seeded(seed: int) -> Fill:
    """Repeatable uniform bytes."""
    generator = np.random.default_rng(seed)

    def fill(buffer: NDArray[np.uint8]) -> None:
        buffer[:] = np.frombuffer(generator.bytes(buffer.size), np.uint8)

    return fill


def constant(byte: int) -> Fill:
    """The two ends of the dither: 0x00 rounds every fraction down, 0xff rounds (almost) every fraction up. Of the noise likewise."""

    def fill(buffer: NDArray[np.uint8]) -> None:
        buffer[:] = byte

    return fill


def silent(buffer: NDArray[np.uint8]) -> None:
    """The middle of the metrics' noise, which is none; as dither it is the same for everybody."""
    buffer[:] = np.resize(np.frombuffer(METRIC_NOISE.to_bytes(8, "little"), np.uint8), buffer.size)


def numbers_of(plan: EncodingPlan, wide: NDArray[Any]) -> list[int]:
    """The wide numbers, group by group."""
    numbers, at = [], 0
    for limbs, count in plan.wide_groups:
        rows = wide[at : at + limbs * count].reshape(limbs, count).tolist()
        numbers += [sum(row[index] << 30 * place for place, row in enumerate(rows)) for index in range(count)]
        at += limbs * count
    assert at == wide.size
    return numbers


def wide_of(plan: EncodingPlan, numbers: Sequence[int]) -> NDArray[np.uint32]:
    """The inverse of `numbers_of`, for integers of any size and sign: each counts modulo 2^(30 limbs)."""
    words, rest = list[int](), list(numbers)
    for limbs, count in plan.wide_groups:
        group, rest = rest[:count], rest[count:]
        words += [number >> 30 * place & (1 << 30) - 1 for place in range(limbs) for number in group]
    assert not rest
    return np.array(words, np.uint32)


def vector_sum(plan: EncodingPlan, vectors: Sequence[Vector]) -> Vector:
    """The sum in Python integers, so that the test leans neither on the wrap-around of a lane nor on the carries under test."""
    ring = [sum(column) % (1 << plan.ring_bits) for column in zip(*(vector.ring.tolist() for vector in vectors), strict=True)]
    numbers = [sum(column) for column in zip(*(numbers_of(plan, vector.wide) for vector in vectors), strict=True)]
    return Vector(np.array(ring, plan.lane), wide_of(plan, numbers))


def times(plan: EncodingPlan, vector: Vector, count: int) -> Vector:
    """The sum of `count` equal vectors, in Python integers."""
    ring = [word * count % (1 << plan.ring_bits) for word in vector.ring.tolist()]
    return Vector(np.array(ring, plan.lane), wide_of(plan, [number * count for number in numbers_of(plan, vector.wide)]))


def counted(plan: EncodingPlan, weight: float) -> tuple[Fraction, bool]:
    """The weight as it counts and whether it was saturated, straight from the definition."""
    if plan.uniform:
        return Fraction(1), False
    steps, most = (math.floor(Fraction(value) * 2**20 + Fraction(1, 2)) for value in (weight, plan.max_weight))
    return Fraction(max(0, min(steps, math.floor(Fraction(plan.max_weight) * 2**20))), 2**20), not 0 <= steps <= most


def exact_mean(
    plan: EncodingPlan,
    received: Mapping[str, NDArray[Any]],
    models: Sequence[Mapping[str, NDArray[Any]]],
    weights: Sequence[float],
    name: str,
) -> list[Fraction]:
    """received + (sum of w * clipped delta) / (sum of w), coordinate by coordinate, without a rounding."""
    base = [Fraction(x) for x in np.ravel(received[name]).tolist()]
    counts, clip = [counted(plan, weight)[0] for weight in weights], Fraction(plan.clip)
    means = []
    for index, start in enumerate(base):
        deltas = [Fraction(np.ravel(model[name])[index].item()) - start for model in models]
        bound = clip if received[name].dtype.kind == "f" else Fraction(INTEGER_CHANGE[received[name].dtype.name])
        deltas = [max(-bound, min(bound, delta)) for delta in deltas]
        means.append(start + sum((w * d for w, d in zip(counts, deltas, strict=True)), Fraction(0)) / sum(counts))
    return means
