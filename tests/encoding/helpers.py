"""What the encoding tests share: scripted randomness, the sum in the ring, and the weighted mean in exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan

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
    """The two ends of the dither: 0x00 rounds every fraction up, 0xff rounds (almost) every fraction down."""

    def fill(buffer: NDArray[np.uint8]) -> None:
        buffer[:] = byte

    return fill


def ring_sum(plan: EncodingPlan, vectors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The sum mod 2^b in Python integers, so that the test does not lean on the wrap-around of a lane."""
    total = sum((vector.astype(object) for vector in vectors), start=np.zeros(plan.vector_length, object))
    return np.array([value % (1 << plan.ring_bits) for value in total], plan.lane)


def times(plan: EncodingPlan, vector: NDArray[Any], count: int) -> NDArray[Any]:
    """The sum of `count` equal vectors mod 2^b."""
    return np.array([int(value) * count % (1 << plan.ring_bits) for value in vector], plan.lane)


def counted(plan: EncodingPlan, weight: float) -> Fraction:
    """The weight as it counts, straight from the definition."""
    return Fraction(round(Fraction(min(weight, plan.max_weight)) * 2**20), 2**20)


def exact_mean(
    plan: EncodingPlan,
    received: Mapping[str, NDArray[Any]],
    models: Sequence[Mapping[str, NDArray[Any]]],
    weights: Sequence[float],
    name: str,
) -> list[Fraction]:
    """received + (sum of w * clipped delta) / (sum of w), coordinate by coordinate, without a rounding."""
    base = [Fraction(x) for x in np.ravel(received[name]).tolist()]
    counts, clip = [counted(plan, weight) for weight in weights], Fraction(plan.clip)
    means = []
    for index, start in enumerate(base):
        deltas = [Fraction(np.ravel(model[name])[index].item()) - start for model in models]
        if received[name].dtype.kind == "f":
            deltas = [max(-clip, min(clip, delta)) for delta in deltas]
        means.append(start + sum((w * d for w, d in zip(counts, deltas, strict=True)), Fraction(0)) / sum(counts))
    return means
