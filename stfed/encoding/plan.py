"""`EncodingPlan`: everything that all parties and the coordinator must agree on for their vectors to add up.

The plan is public, part of the transcript that keys the masks, and has exactly one encoding. From it follow the lengths of the two parts
of a vector (`stfed.encoding.vector`), where each number lies in them, and a proof that no sum can wrap:

    A party's word for a float coordinate lies in [-(q + 1), q + 1], where q is `largest_value` and the 1 is for rounding. With
        n (q + 1) <= 2^(b-1) - 1        (b = `ring_bits`, n = `parties`)
    the sum over any of the n parties lies in [-(2^(b-1) - 1), 2^(b-1) - 1], where the centred representative mod 2^b is the number.

With noise (`stfed.encoding.noise`), n (q + 1) <= 2^(b-1) - 1 - H leaves room for it, and the proof has a stated probability.

n is the whole cohort and not the survivors, so the proof holds whoever drops. It holds for any data: a coordinate is cut to [-c, c] before
it becomes a word, and where vectors are rotated (`stfed.encoding.rotation`) it is cut behind the rotation. All other numbers are
`WideFormat`s with a proof of their own.

What precision costs: one ring unit is c / q of the weighted delta w/W * (trained - received), so a mean has resolution c/q * count * W /
total weight. `max_weight` close to the real weights and `clip` close to the real deltas give the most. `value_bits` says how many bits that
q has and leaves the ring to follow: the smallest b for n parties.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from stfed.encoding.arrays import INTEGER_CHANGE, Array, describe
from stfed.encoding.noise import SCALARS, Noise
from stfed.encoding.normbound import norm_bound_squared
from stfed.encoding.pack import lane_dtype
from stfed.encoding.rotation import SEED_BYTES, Rotation
from stfed.encoding.tensors import MAX_NAME_BYTES, MAX_WORDS, TensorSpec, check_name
from stfed.encoding.wide import WideFormat, exact, nearest
from stfed.errors import DecodeError, LocalError
from stfed.wire import Reader, Writer

VERSION = 1
MAX_NOISED_RING_BITS = 40
"""The ring of a sum with noise: enough for a norm of 2^30 units, and squares of its numbers add up in 64-bit integers."""
MIN_RING_BITS, MAX_RING_BITS = 8, 64
MIN_VALUE_BITS, MAX_VALUE_BITS = 2, 62
MAX_PARTIES = 1 << 24
MAX_TENSORS = 100_000
MAX_METRIC_SLOTS = 1 << 16
MAX_WEIGHT = float(1 << 40)
CLIP_RANGE = (2.0**-96, 2.0**96)

WEIGHT_FRACTION_BITS = 20
"""Weights count in steps of 2^-20, so integers up to `MAX_WEIGHT` are exact and a fraction of an example keeps six digits."""
METRIC_FRACTION_BITS = 70
"""Weighted metrics count in steps of 2^-70, finer than any double near 1, so that a product of a weight and a metric is hardly rounded."""
METRIC_NOISE = 1 << 39
"""Half the width, in steps, of the noise on a weighted metric: 2^-31, so a mean is off by less than 4.7e-10 parties per unit of weight."""
MAX_METRIC = 1 << 53
"""Largest |metric|: every integer that a double holds exactly, so losses, counts, bytes and times in nanoseconds of a run all fit."""


ROTATED_ERROR = 23
"""By what the largest error grows where vectors are rotated. A coordinate is a combination of those of two blocks at most, with
coefficients whose squares add up to 1, so their sizes add up to sqrt(512) at most."""


def fewest_ring_bits(value_bits: int, parties: int) -> int:
    """The smallest b in which n parties have q >= 2^(v-1) - 1, v = `value_bits`: with n 2^(v-1) <= 2^(b-1) - 1."""
    return max((parties << (value_bits - 1)).bit_length() + 1, MIN_RING_BITS)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each number lies.

    Attributes:
        weight: in the wide part: the weight.
        clipped: the number of clipped coordinates.
        saturated: one if the weight was.
        metrics: the metric slots.
        tensors: by tensor, in the plan's order: in the ring part for a float tensor, in the wide part for any other.
    """

    weight: slice
    clipped: slice
    saturated: slice
    metrics: slice
    tensors: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class EncodingPlan:
    """What every vector of one round has in common.

    Attributes:
        tensors: the model, in the order in which it lies in the vector. May be empty: an evaluation sends weight and metrics only.
        parties: n, the size of the cohort; the sum of any n vectors or fewer is safe.
        ring_bits: b, 8 to 64; the ring is Z/2^b. With `value_bits` it follows from those and n, whatever is given here.
        clip: c, the largest change of a coordinate that is sent as it is; larger ones are cut to it and counted. With a rotation these are
            the rotated coordinates, whose root mean square is that of the others.
        max_weight: W, the largest weight, at most 2^40. A larger one counts as W; how many did is in the sum.
        uniform: every party weighs 1, whatever its `weight_key` says; that number then never leaves the party, not even in the sum.
        metric_slots: how many metrics there may be.
        weight_key: the metric that is the weight, as in Flower's `weighted_by_key`; it takes no slot.
        value_bits: v, 2 to 62: q is at least 2^(v-1) - 1, and b the smallest that allows it. What is left over in the ring makes q larger.
        rotation: what all float tensors, one behind the other, are rotated by.
        noise: what makes the sum differentially private. Weights are uniform then, there are no metric slots, and integer tensors stay as
            they are.

    Raises:
        LocalError: a setting out of its range, or settings that cannot be met together, with the reason.
    """

    tensors: tuple[TensorSpec, ...]
    parties: int
    ring_bits: int = 32
    clip: float = 8.0
    max_weight: float = 10_000.0
    uniform: bool = False
    metric_slots: int = 32
    weight_key: str = "num-examples"
    value_bits: int | None = None
    rotation: Rotation | None = None
    noise: Noise | None = None

    def __post_init__(self) -> None:
        _between("parties", self.parties, 1, MAX_PARTIES)
        if self.value_bits is not None:
            _between("value_bits", self.value_bits, MIN_VALUE_BITS, MAX_VALUE_BITS)
            ring_bits = fewest_ring_bits(self.value_bits, self.parties)
            if ring_bits > MAX_RING_BITS:
                raise LocalError(
                    f"value_bits={self.value_bits} for {self.parties} parties takes a ring of {ring_bits} bits, over {MAX_RING_BITS}",
                    hint=f"set value_bits to at most {self.value_bits - (ring_bits - MAX_RING_BITS)}",
                )
            object.__setattr__(self, "ring_bits", ring_bits)
        _between("ring_bits", self.ring_bits, MIN_RING_BITS, MAX_RING_BITS)
        _between("clip", self.clip, *CLIP_RANGE)
        _between("max_weight", self.max_weight, 2.0**-WEIGHT_FRACTION_BITS, MAX_WEIGHT)
        _between("metric_slots", self.metric_slots, 0, MAX_METRIC_SLOTS)
        check_name(self.weight_key, "weight_key")
        if len(self.tensors) > MAX_TENSORS:
            raise LocalError(f"the plan has {len(self.tensors)} tensors, at most {MAX_TENSORS} are allowed")
        if len({spec.name for spec in self.tensors}) != len(self.tensors):
            raise LocalError("two tensors of the plan have the same name")
        if self.noise is not None:
            self._check_noise(self.noise)
        if self.largest_value < 1:
            needed_bits = (2 * self.parties).bit_length() + 1
            raise LocalError(
                f"ring_bits={self.ring_bits} leaves less than one bit a value for {self.parties} parties",
                hint=f"set ring_bits to at least {needed_bits}",
            )
        if not isinstance(self.uniform, bool):
            raise LocalError(f"uniform is a {type(self.uniform).__name__}", hint="it must be True or False")
        if self.uniform and self.max_weight != 1:
            raise LocalError(f"with uniform weights the largest weight is 1, not {self.max_weight:g}", hint="set max_weight=1")
        if self.vector_length + self.wide_length > MAX_WORDS:
            raise LocalError(f"the vector would have {self.vector_length + self.wide_length} words, at most {MAX_WORDS} are allowed")

    def _check_noise(self, noise: Noise) -> None:
        if not self.uniform or self.metric_slots or self.value_bits is not None:
            raise LocalError(
                "a sum with noise has uniform weights, no metric slots and no value_bits",
                hint="set uniform=True; metrics with bounds are part of the noise",
            )
        if self.ring_bits > MAX_NOISED_RING_BITS:
            raise LocalError(f"ring_bits={self.ring_bits} is over {MAX_NOISED_RING_BITS}, the most for a sum with noise")
        if any(spec.name == SCALARS for spec in self.tensors):
            raise LocalError(f"a tensor is called {SCALARS!r}, which is the name of the bounded metrics", hint="rename it")
        noise.check(self.parties, self.vector_length, self.ring_bits)
        if self.largest_value >= 1 and self.vector_length:
            least = norm_bound_squared(noise.clip, self.scale, self.vector_length)
            if noise.norm_bound_squared < least:
                raise LocalError(f"norm_bound_squared={noise.norm_bound_squared} is less than what rounding takes, {least}")

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
        """q, the largest absolute value before rounding: floor((2^(b-1) - 1 - H) / n) - 1, without noise H = 0."""
        headroom = 0 if self.noise is None else self.noise.headroom
        return ((1 << (self.ring_bits - 1)) - 1 - headroom) // self.parties - 1

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
        double arithmetic on the way, which matter in rings of over 50 bits only. Not in it: what was clipped (counted apart), noise, and
        the last rounding of the result to the tensor's own dtype.

        Rotated back, an error is an orthonormal combination of up to 512 such errors, so it is at most 23 times as large. That holds always
        and is never close: the errors of stochastic rounding are independent and centred, so by Hoeffding's inequality a coordinate is off
        by more than s sqrt(count) units with probability 2 exp(-2 s^2) at most, rotated or not. The second term is then that of two
        rotations of blocks whose 2-norm is at most 23 c (see `rotation.ROUNDING`). One clipped coordinate spreads over its whole block.
        """
        units = count * self.step * float(self.max_weight) / float(total_weight)
        if self.rotation is None:
            return units + self.clip * 2.0**-50
        return ROTATED_ERROR * units + self.clip * 2.0**-36

    def clip_is_too_small(self, clipped: int, count: int) -> bool:
        """Whether so many clipped coordinates of `count` parties ask for a larger clip.

        Any does; but rotated coordinates have nearly normal tails, of which the best clip for few bits cuts a little (docs/precision.md):
        there it takes one in 1,000.
        """
        return clipped > (0 if self.rotation is None else count * self.vector_length / 1000)

    @property
    def max_weight_units(self) -> int:
        """W in steps of 2^-20, rounded down."""
        return math.floor(self.max_weight * float(1 << WEIGHT_FRACTION_BITS))

    @property
    def weight_format(self) -> WideFormat:
        """The weight, in steps of 2^-20."""
        return WideFormat(self.max_weight_units, self.parties)

    @property
    def clipped_format(self) -> WideFormat:
        """The number of clipped coordinates."""
        return WideFormat(sum(spec.size for spec in self.tensors), self.parties)

    @property
    def saturated_format(self) -> WideFormat:
        """One for a party whose weight is out of range."""
        return WideFormat(1, self.parties)

    @property
    def metric_format(self) -> WideFormat:
        """One metric: weight times (value + `MAX_METRIC`), in steps of 2^-70."""
        return WideFormat(self.max_weight_units * (2 * MAX_METRIC << METRIC_FRACTION_BITS - WEIGHT_FRACTION_BITS), self.parties)

    def integer_format(self, dtype: str) -> WideFormat:
        """One element of an integer or bool tensor: weight times (change + its bound)."""
        return WideFormat(self.max_weight_units * 2 * INTEGER_CHANGE[dtype], self.parties)

    @property
    def ring_tensors(self) -> tuple[TensorSpec, ...]:
        """What lies in the ring part, in order: the float tensors, and behind them the bounded metrics of a sum with noise."""
        hidden = None if self.noise is None else self.noise.spec
        return (*(spec for spec in self.tensors if spec.is_float), *(() if hidden is None else (hidden,)))

    @property
    def vector_length(self) -> int:
        """u, the number of ring words: one for each float coordinate."""
        return sum(spec.size for spec in self.ring_tensors)

    @property
    def promised_survivors(self) -> int:
        """The fewest parties in a sum, of this plan's noise; 1 without."""
        return 1 if self.noise is None else self.noise.survivors

    @property
    def wide_groups(self) -> tuple[tuple[int, int], ...]:
        """(limbs, count) of the wide numbers, in order: weight, clipped, saturated, metrics, then the integer and bool tensors."""
        header = (self.weight_format.limbs, 1), (self.clipped_format.limbs, 1), (self.saturated_format.limbs, 1)
        tensors = ((self.integer_format(spec.dtype).limbs, spec.size) for spec in self.tensors if not spec.is_float)
        return (*header, (self.metric_format.limbs, self.metric_slots), *tensors)

    @property
    def wide_length(self) -> int:
        """w, the number of words that the wide numbers take."""
        return sum(limbs * count for limbs, count in self.wide_groups)

    def layout(self) -> Layout:
        """Where each number lies in the vector."""
        wide = _consecutive(limbs * count for limbs, count in self.wide_groups)
        ring = _consecutive(spec.size for spec in self.tensors if spec.is_float)
        weight, clipped, saturated, metrics = (next(wide) for _ in range(4))
        return Layout(weight, clipped, saturated, metrics, tuple(next(ring if spec.is_float else wide) for spec in self.tensors))

    def weight_units(self, weight: object) -> tuple[int, bool]:
        """The weight in steps of 2^-20, as it counts in the sum and everywhere else, and whether it had to be saturated to [0, W].

        Out of range is no refusal: the coordinator chooses W and `weight_key`, and a party that refuses would tell it on which side of W
        its number lies.

        Raises:
            LocalError: not a finite number. The weight is as private as the update, so no message has it.
        """
        if self.uniform:
            return 1 << WEIGHT_FRACTION_BITS, False
        units = nearest(exact(weight, f"the weight {self.weight_key!r}") * (1 << WEIGHT_FRACTION_BITS))
        # W is no multiple of a step as a rule: then it rounds up, counts as the step below, and is in range all the same
        largest = nearest(exact(self.max_weight, "max_weight") * (1 << WEIGHT_FRACTION_BITS))
        return min(max(units, 0), self.max_weight_units), not 0 <= units <= largest

    def weighted_scale(self, weight_units: int) -> float:
        """Ring units for a delta of 1 at this weight: at most `scale`, rounded once."""
        return float(Fraction(self.scale) * Fraction(weight_units, 1 << WEIGHT_FRACTION_BITS) / Fraction(self.max_weight))

    def mean_scale(self, total_weight_units: int) -> float:
        """The mean delta that one unit of the sum stands for, rounded once."""
        return float(Fraction(self.max_weight) / Fraction(self.scale) / Fraction(total_weight_units, 1 << WEIGHT_FRACTION_BITS))

    def encode(self) -> bytes:
        """The plan's one encoding."""
        writer = (
            Writer()
            .u8(VERSION)
            .vector(self.tensors, lambda w, spec: spec.write(w))
            .u32(self.parties)
            .u8(self.ring_bits)
            .f64(self.clip)
            .f64(self.max_weight)
            .u8(self.uniform)
            .u32(self.metric_slots)
            .text(self.weight_key)
            .u8(self.value_bits or 0)
            .opaque(self.rotation.seed if self.rotation else b"")
            .u8(self.noise is not None)
        )
        return (writer if self.noise is None else self.noise.write(writer)).getvalue()

    def pinned(self, *, clip_may_move: bool = False) -> bytes:
        """What a party holds still from the first round of a run to the last: the plan but for its cohort.

        Of the noise its amounts follow from the cohort; what is sent under it, and within which bounds, is held still.

        Args:
            clip_may_move: leave the clip out. With noise this is right where the party asks for it: nothing that the clip decides is
                counted exactly then, and what comparing counts tells has its price in the privacy that is spent. Without noise, its owner
                decides.
        """
        if self.noise is None:
            return replace(self, parties=1, clip=1.0 if clip_may_move else self.clip).encode()
        writer = Writer().vector(self.noise.scalars, lambda w, scalar: w.text(scalar.name).f64(scalar.low).f64(scalar.high))
        writer.u8(self.noise.norm_bit).f64(0.0 if clip_may_move else self.noise.l2_clip).f64(
            0.0 if clip_may_move else self.noise.scalar_clip
        )
        return replace(self, parties=1, clip=1.0, ring_bits=MAX_RING_BITS, noise=None).encode() + writer.getvalue()

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
            tensors = tuple(reader.vector("tensors", TensorSpec.read, max_items=MAX_TENSORS, item_min_bytes=12))
            parties, ring_bits = reader.u32("parties"), reader.u8("ring_bits")
            clip, max_weight, uniform = reader.f64("clip"), reader.f64("max_weight"), reader.u8("uniform")
            if uniform > 1:
                raise reader.fail("uniform", "is neither 0 nor 1")
            metric_slots, weight_key = reader.u32("metric_slots"), reader.text("weight_key", max_bytes=MAX_NAME_BYTES)
            value_bits, seed = reader.u8("value_bits") or None, reader.opaque("rotation", max_bytes=SEED_BYTES)
            rotation, noised = Rotation(seed) if seed else None, reader.u8("noise")
            if noised > 1:
                raise reader.fail("noise", "is neither 0 nor 1")
            noise = Noise.read(reader) if noised else None
            reader.end()
            plan = cls(tensors, parties, ring_bits, clip, max_weight, bool(uniform), metric_slots, weight_key, value_bits, rotation, noise)
            if plan.ring_bits != ring_bits:
                raise reader.fail("ring_bits", f"is {ring_bits}, {value_bits} bits a value for {parties} parties make it {plan.ring_bits}")
            return plan
        except LocalError as error:
            raise DecodeError(f"encoding plan: {error.message}", hint=error.hint) from None


def _consecutive(lengths: Iterable[int]) -> Iterator[slice]:
    """Slices of these lengths, one behind the other."""
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


def _between(setting: str, value: float, low: float, high: float) -> None:
    """Bounds that are integers ask for an integer."""
    kind = int if isinstance(low, int) else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        raise LocalError(f"{setting} is a {type(value).__name__}", hint="it must be an int" if kind is int else "it must be a number")
    if not low <= value <= high:
        raise LocalError(f"{setting}={value:g} is outside [{low:g}, {high:g}]")
