"""Ring coordinates: all float tensors of a plan, one behind the other, as one line of numbers that can be walked in steps of any size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from stfed.encoding.plan import EncodingPlan
from stfed.encoding.tensors import TensorSpec


class Coordinates:
    """Which element of which tensor each ring coordinate is."""

    def __init__(self, plan: EncodingPlan) -> None:
        self._specs = [spec for spec in plan.ring_tensors if spec.size]
        self.size: int
        *self._starts, self.size = accumulate((spec.size for spec in self._specs), initial=0)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[TensorSpec, slice, slice]]:
        """The coordinates from `start` to `stop`, by tensor: the tensor, where in it they lie, and where between `start` and `stop`."""
        index = bisect_right(self._starts, start) - 1
        at = start
        while at < stop:
            spec, first = self._specs[index], self._starts[index]
            end = min(first + spec.size, stop)
            yield spec, slice(at - first, end - first), slice(at - start, end - start)
            at, index = end, index + 1
