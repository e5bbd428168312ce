"""`SumPlan`: which numbers a party encrypts (`stfed.flower.ckks.numbers`). Public, and the same for everybody in a sum.

The numbers are real, there is no ring: `clip`, `max_weight` and `metric_bound` cost no precision that anybody would notice
(`stfed.flower.ckks.scale`), so they can be generous.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import describe
from stfed.encoding.plan import CLIP_RANGE, MAX_TENSORS, MAX_WEIGHT
from stfed.encoding.tensors import MAX_NAME_BYTES, TensorSpec
from stfed.encrypted.context import EvaluationContext
from stfed.errors import DecodeError, LocalError, shown
from stfed.flower.ckks.scale import Scale
from stfed.wire import Reader, Writer

INTEGER_CHANGE = float(1 << 20)
"""The most that an integer of a model (a counter of batches) may move in a round; the mean is the nearest integer to the real one."""
MAX_PARTIES = 1 << 16
MAX_ELEMENTS = 1 << 32
HEADER = 2  # the weight and the share of what was clipped, behind the metrics

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class SumPlan:
    """What all contributions to one sum have in common.

    Attributes:
        tensors: the model; none for an evaluation.
        parties: n, how many are asked; no sum has more.
        clip: largest change of a float that is sent as it is.
        max_weight: W; a larger weight counts as W.
        metric_bound: M, largest |metric|; a larger one is refused by the party.
        uniform: everybody weighs 1.
        weight_key: the metric that is the weight.

    Raises:
        LocalError: a setting out of its range.
    """

    tensors: tuple[TensorSpec, ...]
    parties: int
    clip: float = 8.0
    max_weight: float = 10_000.0
    metric_bound: float = 10_000.0
    uniform: bool = False
    weight_key: str = "num-examples"

    def __post_init__(self) -> None:
        if not 1 <= self.parties <= MAX_PARTIES:
            raise LocalError(f"a sum of {self.parties} parties", hint=f"1 to {MAX_PARTIES}")
        for name, low, high in (("clip", *CLIP_RANGE), ("max_weight", 1e-6, MAX_WEIGHT), ("metric_bound", 1e-6, 1e15)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise LocalError(f"{name} is {shown(value)}", hint=f"a number from {low:g} to {high:g}")
        if self.elements > MAX_ELEMENTS:
            raise LocalError(f"a model of {self.elements} elements is too large for an encrypted sum", hint=f"at most {MAX_ELEMENTS}")
        if len({spec.name for spec in self.tensors}) < len(self.tensors):
            raise LocalError("two tensors have the same name")
        if odd := [spec.name for spec in self.tensors if spec.dtype == "bfloat16"]:
            raise LocalError(f"tensor {shown(odd[0])} is bfloat16, which NumPy has not", hint="send float32")

    @classmethod
    def of(cls, arrays: Mapping[str, Any], parties: int, **fields: Any) -> Self:
        """The plan for a model.

        Raises:
            LocalError: a tensor that has no mean, by name.
        """
        return cls(tuple(TensorSpec(name, *describe(name, value)) for name, value in arrays.items()), parties, **fields)

    @property
    def elements(self) -> int:
        """Of the model."""
        return sum(spec.size for spec in self.tensors)

    def scalars(self, metrics: int) -> int:
        """How many numbers are no part of the model if there are so many metrics."""
        return metrics + HEADER

    def length(self, metrics: int) -> int:
        """How many numbers a party encrypts."""
        return self.elements + self.scalars(metrics)

    def scale(self, context: EvaluationContext, metrics: int) -> Scale:
        """How these numbers are held under a key; LocalError if its parameters are too small for them."""
        return Scale(context, self.parties, self.length(metrics), self.scalars(metrics))

    def pieces(self) -> Iterator[tuple[TensorSpec, slice]]:
        """Each tensor and its place, floats first."""
        at = 0
        for spec in sorted(self.tensors, key=lambda one: not one.is_float):  # stable: in the model's order otherwise
            yield spec, slice(at, at + spec.size)
            at += spec.size

    def unit(self, spec: TensorSpec) -> float:
        """The change that 1 stands for."""
        return float(self.clip) if spec.is_float else INTEGER_CHANGE

    def encode(self) -> bytes:
        """The plan's one encoding."""
        writer = Writer().vector(self.tensors, lambda w, spec: spec.write(w))
        writer.u32(self.parties).f64(self.clip).f64(self.max_weight).f64(self.metric_bound)
        return writer.u8(self.uniform).text(self.weight_key).getvalue()

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The plan that `data` is the encoding of; DecodeError if it is none."""
        reader = Reader(data, "plan of an encrypted sum")
        try:
            tensors = tuple(reader.vector("tensors", TensorSpec.read, max_items=MAX_TENSORS, item_min_bytes=12))
            parties, clip, max_weight, metric_bound = reader.u32("parties"), reader.f64("clip"), reader.f64("W"), reader.f64("M")
            uniform, weight_key = bool(reader.u8("uniform")), reader.text("weight key", max_bytes=MAX_NAME_BYTES)
            plan = cls(tensors, parties, clip, max_weight, metric_bound, uniform, weight_key)
        except LocalError as error:
            raise DecodeError(f"{reader.what}: {error.message}") from None
        reader.end()
        if plan.encode() != data:
            raise DecodeError(f"{reader.what}: not in its one encoding")
        return plan
