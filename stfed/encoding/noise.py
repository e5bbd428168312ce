"""`Noise`: what a plan says about differential privacy, in whole numbers that every party can check.

The sum of the vectors of one round is to be private, not only who sent what. Each party cuts its whole update to an L2 norm, rounds it to
integers whose norm is bounded *exactly*, and adds Skellam noise before it masks (Agarwal, Kairouz and Liu, *The Skellam Mechanism for
Differentially Private Federated Learning*, NeurIPS 2021). Skellam noise is closed under addition: the noise of h parties is that of one
party with h times the variance, so a sum over h honest parties or more carries it in full, and nobody ever sees a sum that carries less.

What the guarantee follows from is in here, and only in here, as the numbers themselves and not as what they were calculated from:

    two neighbouring sums (one party's vector, or zeros in its place) differ by integers x with ||x||_2^2 <= B2;
    each is hidden by Skellam noise of variance at least h V, V = `share_variance` and h = `survivors` less the corrupt parties.

Wrap-around of the ring: the noise of n parties is below H = `headroom` in all coordinates, but for a probability that is stated
(`wrap_probability_log2`), and what is left of the ring is divided among the parties as without noise. A sum that wraps is a wrong number in
one coordinate and no less private, because reduction modulo 2^b comes after the noise.

Nothing may leave beside the noised vector. So weights are uniform, no coordinate that was cut is counted, integer tensors stay as they were
received, and metrics are left out but for those named here with bounds (`Bounded`), which are part of the noised vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.cumulative import smallest, tail_log2
from stfed.encoding.skellam import MAX_VARIANCE
from stfed.encoding.tensors import MAX_NAME_BYTES, TensorSpec, check_name
from stfed.errors import LocalError
from stfed.wire import Reader, Writer

WRAP_LOG2 = -40.0
"""A sum wraps in any coordinate with probability 2^-40 at most, where this package chooses the headroom."""
_LARGEST_WRAP_LOG2 = -30.0
"""What a plan is refused for."""

MAX_SCALARS = 256
MAX_CLIP = 2.0**96
_BOUND_BYTES = 15

SCALARS = "stfed.scalars"
"""The name under which the bounded numbers lie behind the tensors."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A metric that may leave a party under noise: it is cut to [low, high].

    Raises:
        LocalError: bounds that are not finite, or not in order.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        check_name(self.name, "metric")
        if not (
            math.isfinite(2 * self.low)
            and math.isfinite(2 * self.high)
            and math.isfinite(2 * (self.high - self.low))
            and self.low < self.high
        ):
            raise LocalError(f"metric {self.name!r} is bounded by {self.low!r} and {self.high!r}", hint="give a low and a higher number")

    def centred(self, value: object) -> float:
        """The value as a number in [-1, 1], NaN in the middle; `LocalError`, without the value, if it is none.

        NaN is no refusal: it comes from the data, and a refusal is seen.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LocalError(f"metric {self.name!r} is no number")
        if value != value:
            return 0.0
        return 2.0 * (min(max(float(value), self.low), self.high) - self.low) / (self.high - self.low) - 1.0

    def spread(self, centred: float) -> float:
        """The inverse of `centred`; a noised mean may lie outside the bounds."""
        return self.low + (centred + 1.0) / 2.0 * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes a sum differentially private.

    Attributes:
        l2_clip: C, the largest L2 norm of one party's change, over all float tensors, in units of the model. 0 where there are none.
        scalar_clip: the L2 norm of all bounded numbers at their bounds, in the same units. 0 where there are none.
        scalars: the bounded numbers.
        norm_bit: whether one more is sent, behind them: 1 if the norm was within `l2_clip` and -1 if not. Adaptive clipping learns from it.
        share_variance: V, the variance of what each party adds to each coordinate, in ring units squared.
        norm_bound_squared: B2, the largest squared norm of one party's integers; rounding is repeated until it holds. A plan's is never
            below `normbound.norm_bound_squared`: whether a rounding is short enough would tell about the update otherwise.
        headroom: H, what the ring keeps free for the noise of all parties.
        survivors: the fewest parties in a sum. A party gives no share for a smaller one.

    Raises:
        LocalError: a number out of its range.
    """

    l2_clip: float
    scalar_clip: float
    scalars: tuple[Bounded, ...]
    norm_bit: bool
    share_variance: float
    norm_bound_squared: int
    headroom: int
    survivors: int

    def __post_init__(self) -> None:
        for name, value in (("l2_clip", self.l2_clip), ("scalar_clip", self.scalar_clip)):
            if not 0 <= value <= MAX_CLIP:
                raise LocalError(f"{name} is {value!r}, it must be between 0 and 2^96")
        if not 0 < self.share_variance <= MAX_VARIANCE:
            raise LocalError(f"share_variance is {self.share_variance!r}, it must be over 0 and at most {MAX_VARIANCE:g}")
        if not 1 <= self.norm_bound_squared < 1 << 8 * _BOUND_BYTES or self.headroom < 1 or self.survivors < 1:
            raise LocalError("norm_bound_squared, headroom and survivors must be 1 or more")
        if len({scalar.name for scalar in self.scalars}) < len(self.scalars) or len(self.scalars) > MAX_SCALARS:
            raise LocalError(f"bounded metrics must have different names, and there may be {MAX_SCALARS}")
        if (self.scalar_clip > 0) != (self.slots > 0):
            raise LocalError("scalar_clip is over 0 if and only if bounded numbers are sent")

    @property
    def slots(self) -> int:
        """How many bounded numbers there are."""
        return len(self.scalars) + self.norm_bit

    @property
    def clip(self) -> float:
        """The largest L2 norm of all that one party sends, in units of the model."""
        return math.hypot(self.l2_clip, self.scalar_clip)

    @property
    def amplitude(self) -> float:
        """What a bounded number at its bound is, in units of the model."""
        return self.scalar_clip / math.sqrt(self.slots)

    @property
    def spec(self) -> TensorSpec | None:
        """The bounded numbers as one more float tensor of the vector."""
        return TensorSpec(SCALARS, "float64", (self.slots,)) if self.slots else None

    def multiplier(self, corrupt: int) -> float:
        """z = sqrt(h V / B2): the deviation of the noise that is in every sum, by the largest norm of one party's integers.

        Args:
            corrupt: how many of the survivors may have told the coordinator their own noise, or added none.
        """
        return math.sqrt(max(self.survivors - corrupt, 0) * self.share_variance / self.norm_bound_squared)

    def hidden_votes(self, corrupt: int) -> float:
        """The deviation of the noise on the count of norm bits, in parties; infinite if none are sent.

        A bit at its bounds is twice `amplitude` apart, and the noise's deviation is the multiplier times the whole norm, or a little more.
        """
        return self.multiplier(corrupt) * self.clip / (2 * self.amplitude) if self.norm_bit else math.inf

    def values(self, metrics: Mapping[str, object], *, within: bool) -> NDArray[np.float64]:
        """The bounded numbers as they lie in the vector, in units of the model.

        Args:
            metrics: a party's.
            within: whether its norm was within `l2_clip`.

        Raises:
            LocalError: a number that is not there or none, by name.
        """
        missing = next((scalar.name for scalar in self.scalars if scalar.name not in metrics), None)
        if missing is not None:
            raise LocalError(f"there is no metric {missing!r}, which this private sum is to have", hint="return it, or do not ask for it")
        centred = [scalar.centred(metrics[scalar.name]) for scalar in self.scalars]
        return np.array([*centred, *([1.0 if within else -1.0] if self.norm_bit else [])]) * (self.amplitude if self.slots else 0.0)

    def means(self, values: NDArray[np.float64]) -> tuple[dict[str, float], float | None]:
        """The noised means of the metrics, and of the share of parties within the clip, out of the mean vector's bounded numbers."""
        centred = (values / self.amplitude).tolist() if self.slots else []
        share = (centred.pop() + 1.0) / 2.0 if self.norm_bit else None
        return {scalar.name: scalar.spread(value) for scalar, value in zip(self.scalars, centred, strict=True)}, share

    def check(self, parties: int, coordinates: int, ring_bits: int) -> None:
        """Refuses noise that such a ring has no room for.

        Raises:
            LocalError: more survivors than parties, or a sum that wraps too often.
        """
        if self.survivors > parties:
            raise LocalError(f"a sum of {self.survivors} of {parties} parties cannot be")
        if self.headroom >= 1 << (ring_bits - 1):
            raise LocalError(f"the noise leaves no room in a ring of {ring_bits} bits", hint="use more ring bits, or less noise")
        wrap = wrap_probability_log2(self.headroom, parties * self.share_variance, coordinates)
        if wrap > _LARGEST_WRAP_LOG2:
            raise LocalError(f"the noise makes the ring wrap with probability 2^{wrap:.0f}", hint="use more ring bits, or less noise")

    def write(self, writer: Writer) -> Writer:
        """One encoding."""
        writer.f64(self.l2_clip).f64(self.scalar_clip)
        writer.vector(self.scalars, lambda w, scalar: w.text(scalar.name).f64(scalar.low).f64(scalar.high)).u8(self.norm_bit)
        writer.f64(self.share_variance).fixed(self.norm_bound_squared.to_bytes(_BOUND_BYTES, "big"), _BOUND_BYTES)
        return writer.u64(self.headroom).u32(self.survivors)

    @classmethod
    def read(cls, reader: Reader) -> Noise:
        """The inverse of `write`."""
        l2_clip, scalar_clip = reader.f64("l2_clip"), reader.f64("scalar_clip")
        scalars = tuple(reader.vector("scalars", _read_bounded, max_items=MAX_SCALARS, item_min_bytes=20))
        norm_bit = reader.u8("norm_bit")
        if norm_bit > 1:
            raise reader.fail("norm_bit", "is neither 0 nor 1")
        share_variance = reader.f64("share_variance")
        bound = int.from_bytes(reader.fixed(_BOUND_BYTES, "norm_bound_squared"), "big")
        headroom, survivors = reader.u64("headroom"), reader.u32("survivors")
        return cls(l2_clip, scalar_clip, scalars, bool(norm_bit), share_variance, bound, headroom, survivors)


def _read_bounded(reader: Reader) -> Bounded:
    return Bounded(reader.text("metric", max_bytes=MAX_NAME_BYTES), reader.f64("low"), reader.f64("high"))


def wrap_probability_log2(headroom: float, variance: float, coordinates: int) -> float:
    """log2 of a bound on the probability that any of `coordinates` Skellam numbers of this variance is `headroom` or more in size.

    `tail_log2`, and the union bound over coordinates and signs.
    """
    return tail_log2(variance, headroom) + 1 + math.log2(max(coordinates, 1))


def fewest_headroom(variance: float, coordinates: int) -> int:
    """The smallest H for which `wrap_probability_log2` is at most `WRAP_LOG2`."""
    return smallest(lambda headroom: wrap_probability_log2(headroom, variance, coordinates) <= WRAP_LOG2)
