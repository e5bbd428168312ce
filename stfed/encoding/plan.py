"""`EncodingPlan`: everything that all parties and the coordinator must agree on for their vectors to add up.

The plan is public, part of the transcript that keys the masks, and has exactly one encoding. From it follow the length u of the ring
vector, where each number lies in it, and a proof that no sum can wrap:

    A party's word for a float coordinate lies in [-(q + 1), q + 1], where q is `largest_value` and the 1 is for rounding. With
        n (q + 1) <= 2^(b-1) - 1        (b = `ring_bits`, n = `parties`)
    the sum over any of the n parties lies in [-(2^(b-1) - 1), 2^(b-1) - 1], where the centred representative mod 2^b is the number.

n is the whole cohort and not the survivors, so the proof holds whoever drops. All other numbers are `WideFormat`s with a proof of their
own.

What precision costs: one ring unit is c / q of the weighted delta w/W * (trained - received), so a mean has resolution c/q * count * W /
total weight. `max_weight` close to the real weights and `clip` close to the real deltas give the most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np

from stfed.encoding.arrays import INTEGER_CHANGE, Array, describe
from stfed.encoding.pack import lane_dtype
from stfed.encoding.tensors import MAX_DIMENSIONS, MAX_NAME_BYTES, MAX_WORDS, TensorSpec, check_name
from stfed.encoding.wide import WideFormat, fixed_point
from stfed.errors import DecodeError, LocalError
from stfed.wire import Reader, Writer

VERSION = 1
MIN_RING_BITS, MAX_RING_BITS = 8, 64
MAX_PARTIES = 1 << 24
MAX_TENSORS = 100_000
MAX_METRIC_SLOTS = 1 << 16
MAX_WEIGHT = float(1 << 40)
CLIP_RANGE = (2.0**-96, 2.0**96)

WEIGHT_FRACTION_BITS = 20
"""Weights count in steps of 2^-20, so integers up to `MAX_WEIGHT` are exact and a fraction of an example keeps six digits."""
METRIC_FRACTION_BITS = 30
"""Metrics count in steps of 2^-30 (an error of at most 4.7e-10 each, whatever the weight): under what a float32 loss near 1 resolves."""
MAX_METRIC = 1 << 53
"""Largest |metric|: every integer that a double holds exactly, so losses, counts, bytes and times in nanoseconds of a run all fit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each number lies in the vector: weight, clipped count and metrics first, then the tensors in the plan's order."""

    weight: slice
    clipped: slice
    metrics: slice
    tensors: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class EncodingPlan:
    """What every vector of one round has in common.

    Attributes:
        tensors: the model, in the order in which it lies in the vector. May be empty: an evaluation sends weight and metrics only.
        parties: n, the size of the cohort; the sum of any n vectors or fewer is safe.
        ring_bits: b, 8 to 64; the ring is Z/2^b.
        clip: c, the largest change of a coordinate that is sent as it is; larger ones are cut to it and counted.
        max_weight: W, the largest weight, at most 2^40.
        cap_weight: what happens to a weight over W: it counts as W if true, and is refused otherwise.
        metric_slots: how many numbers all metrics together may have.
        weight_key: the metric that is the weight, as in Flower's `weighted_by_key`; it takes no slot.

    Raises:
        LocalError: a setting out of its range, or settings that cannot be met together, with the reason.
    """

    tensors: tuple[TensorSpec, ...]
    parties: int
    ring_bits: int = 32
    clip: float = 8.0
    max_weight: float = 10_000.0
    cap_weight: bool = False
    metric_slots: int = 32
    weight_key: str = "num-examples"

    def __post_init__(self) -> None:
        _between("parties", self.parties, 1, MAX_PARTIES)
        _between("ring_bits", self.ring_bits, MIN_RING_BITS, MAX_RING_BITS)
        _between("clip", self.clip, *CLIP_RANGE)
        _between("max_weight", self.max_weight, 2.0**-WEIGHT_FRACTION_BITS, MAX_WEIGHT)
        _between("metric_slots", self.metric_slots, 0, MAX_METRIC_SLOTS)
        check_name(self.weight_key, "weight_key")
        if len(self.tensors) > MAX_TENSORS:
            raise LocalError(f"the plan has {len(self.tensors)} tensors, at most {MAX_TENSORS} are allowed")
        if len({spec.name for spec in self.tensors}) != len(self.tensors):
            raise LocalError("two tensors of the plan have the same name")
        if self.largest_value < 1:
            needed_bits = (2 * self.parties).bit_length() + 1
            raise LocalError(
                f"ring_bits={self.ring_bits} leaves less than one bit a value for {self.parties} parties",
                hint=f"set ring_bits to at least {needed_bits}",
            )
        if self.vector_length > MAX_WORDS:
            raise LocalError(f"the vector would have {self.vector_length} words, at most {MAX_WORDS} are allowed")

    @classmethod
    def for_arrays(cls, arrays: Mapping[str, Array], *, parties: int, **settings: Any) -> EncodingPlan:
        """The plan for these arrays, in their order; `settings` are the remaining fields.

        Raises:
            LocalError: as the constructor, and for anything that is not an array of real numbers.
        """
        return cls(tuple(TensorSpec(name, *describe(name, value)) for name, value in arrays.items()), parties, **settings)

    @property
    def lane(self) -> np.dtype[Any]:
        """The dtype of a ring word: the smallest unsigned one of at least 16 bits that holds b bits."""
        return lane_dtype(self.ring_bits)

    @property
    def largest_value(self) -> int:
        """q, the largest absolute value before rounding: floor((2^(b-1) - 1) / n) - 1."""
        return ((1 << (self.ring_bits - 1)) - 1) // self.parties - 1

    @property
    def scale(self) -> float:
        """Ring units for a delta of 1 at full weight: the double nearest q / c for which the *rounded* product c * scale is at most q."""
        scale = self.largest_value / self.clip
        while self.clip * scale > self.largest_value:  # Python compares a float with an int exactly
            scale = math.nextafter(scale, 0.0)
        return scale

    @property
    def step(self) -> float:
        """The weighted delta w/W * (trained - received) that one ring unit stands for."""
        return 1.0 / self.scale

    def error_bound(self, total_weight: float, count: int) -> float:
        """The largest absolute error of a float coordinate of the mean of `count` parties.

        Each party rounds by less than one unit, so the sum is off by less than `count` units. The second term covers the eight roundings of
        double arithmetic on the way, which matter in rings of over 50 bits only. Not in it: what was clipped (counted apart) and the last
        rounding of the result to the tensor's own dtype.
        """
        return count * self.step * float(self.max_weight) / float(total_weight) + self.clip * 2.0**-50

    @property
    def max_weight_units(self) -> int:
        """W in steps of 2^-20, rounded down."""
        return math.floor(self.max_weight * float(1 << WEIGHT_FRACTION_BITS))

    @property
    def weight_format(self) -> WideFormat:
        """The weight, in steps of 2^-20."""
        return self._wide(self.max_weight_units)

    @property
    def clipped_format(self) -> WideFormat:
        """The number of clipped coordinates."""
        return self._wide(sum(spec.size for spec in self.tensors if spec.is_float))

    @property
    def metric_format(self) -> WideFormat:
        """One metric: weight times (value + `MAX_METRIC`), each in its fixed point."""
        return self._wide(self.max_weight_units * (2 * MAX_METRIC << METRIC_FRACTION_BITS))

    def integer_format(self, dtype: str) -> WideFormat:
        """One element of an integer or bool tensor: weight times (change + its bound)."""
        return self._wide(self.max_weight_units * 2 * INTEGER_CHANGE[dtype])

    def _wide(self, largest: int) -> WideFormat:
        return WideFormat(largest, self.parties, self.ring_bits)

    def words(self, spec: TensorSpec) -> int:
        """Ring words that a tensor takes."""
        return spec.size if spec.is_float else spec.size * self.integer_format(spec.dtype).limbs

    @property
    def _header_lengths(self) -> tuple[int, int, int]:
        return self.weight_format.limbs, self.clipped_format.limbs, self.metric_slots * self.metric_format.limbs

    @property
    def vector_length(self) -> int:
        """u, the number of ring words."""
        return sum(self._header_lengths) + sum(map(self.words, self.tensors))

    def layout(self) -> Layout:
        """Where each number lies in the vector."""
        ends = list(accumulate((*self._header_lengths, *map(self.words, self.tensors)), initial=0))
        weight, clipped, metrics, *tensors = map(slice, ends, ends[1:])
        return Layout(weight, clipped, metrics, tuple(tensors))

    def weight_units(self, weight: object) -> int:
        """The weight in steps of 2^-20, as it counts in the sum and everywhere else: capped if the plan says so.

        Raises:
            LocalError: not a finite number, negative, over `max_weight` and not capped, or too small to count though not zero. The
                weight is as private as the update, so no message has it.
        """
        units = fixed_point(weight, WEIGHT_FRACTION_BITS, f"the weight {self.weight_key!r}")
        assert isinstance(weight, int | float)
        if weight < 0:
            raise LocalError(f"the weight {self.weight_key!r} is negative")
        if weight > self.max_weight and not self.cap_weight:
            raise LocalError(
                f"the weight {self.weight_key!r} is over max_weight={self.max_weight:g} of the plan",
                hint="raise max_weight to the largest weight of any party, or set cap_weight to count larger ones as max_weight",
            )
        if weight and not units:
            raise LocalError(f"the weight {self.weight_key!r} is under the resolution 2^-{WEIGHT_FRACTION_BITS} and not zero")
        return min(units, self.max_weight_units)

    def weighted_scale(self, weight_units: int) -> float:
        """Ring units for a delta of 1 at this weight: at most `scale`, rounded once."""
        return float(Fraction(self.scale) * Fraction(weight_units, 1 << WEIGHT_FRACTION_BITS) / Fraction(self.max_weight))

    def mean_scale(self, total_weight_units: int) -> float:
        """The mean delta that one unit of the sum stands for, rounded once."""
        return float(Fraction(self.max_weight) / Fraction(self.scale) / Fraction(total_weight_units, 1 << WEIGHT_FRACTION_BITS))

    def encode(self) -> bytes:
        """The plan's one encoding."""
        return (
            Writer()
            .u8(VERSION)
            .vector(self.tensors, lambda w, spec: w.text(spec.name).text(spec.dtype).vector(spec.shape, Writer.u64))
            .u32(self.parties)
            .u8(self.ring_bits)
            .f64(self.clip)
            .f64(self.max_weight)
            .u8(self.cap_weight)
            .u32(self.metric_slots)
            .text(self.weight_key)
            .getvalue()
        )

    @classmethod
    def decode(cls, data: bytes) -> EncodingPlan:
        """The plan that `data` is the encoding of.

        Raises:
            DecodeError: not an encoding of a plan that can be met; sizes are checked before anything of that size is allocated.
        """
        reader = Reader(data, "encoding plan")
        version = reader.u8("version")
        if version != VERSION:
            raise reader.fail("version", f"is {version}, this release knows {VERSION}")
        try:
            tensors = tuple(reader.vector("tensors", _read_spec, max_items=MAX_TENSORS, item_min_bytes=12))
            parties, ring_bits = reader.u32("parties"), reader.u8("ring_bits")
            clip, max_weight, cap_weight = reader.f64("clip"), reader.f64("max_weight"), reader.u8("cap_weight")
            if cap_weight > 1:
                raise reader.fail("cap_weight", "is neither 0 nor 1")
            metric_slots, weight_key = reader.u32("metric_slots"), reader.text("weight_key", max_bytes=MAX_NAME_BYTES)
            reader.end()
            return cls(tensors, parties, ring_bits, clip, max_weight, bool(cap_weight), metric_slots, weight_key)
        except LocalError as error:
            raise DecodeError(f"encoding plan: {error.message}", hint=error.hint) from None


def _read_spec(reader: Reader) -> TensorSpec:
    name, dtype = reader.text("tensor name", max_bytes=MAX_NAME_BYTES), reader.text("tensor dtype", max_bytes=16)
    shape = reader.vector("tensor shape", lambda r: r.u64("dimension"), max_items=MAX_DIMENSIONS, item_min_bytes=8)
    return TensorSpec(name, dtype, tuple(shape))


def _between(setting: str, value: float, low: float, high: float) -> None:
    """Bounds that are integers ask for an integer."""
    kind = int if isinstance(low, int) else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        raise LocalError(f"{setting} is a {type(value).__name__}", hint="it must be an int" if kind is int else "it must be a number")
    if not low <= value <= high:
        raise LocalError(f"{setting}={value:g} is outside [{low:g}, {high:g}]")
