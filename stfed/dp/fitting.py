"""`fit`: the smallest ring in which a sum can be as private as asked for, and the noise that makes it so.

How fine the ring is costs bits and, if it is too coarse, noise: rounding d coordinates adds up to d / 4 to the squared norm, in ring units,
and the noise has to hide that as well. A norm of `GRAIN` sqrt(d) units or more keeps this below a percent of the noise's deviation. The
rest follows: the variance from the multiplier and the norm, the headroom from the variance, the largest value from what is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from stfed.encoding.noise import Bounded, Noise, fewest_headroom
from stfed.encoding.normbound import norm_bound_squared
from stfed.encoding.plan import MAX_NOISED_RING_BITS, MIN_RING_BITS, EncodingPlan
from stfed.encoding.skellam import MAX_VARIANCE
from stfed.errors import LocalError

GRAIN = 4.0
"""B2 = (C s)^2 (1 + 1 / (4 GRAIN^2)) and a little: 0.8 % of the noise's deviation."""
_LEAST_NORM = 256.0
"""Units that C has at least, for vectors of few coordinates."""


def fit(
    plan: EncodingPlan,
    *,
    l2_clip: float,
    noise_multiplier: float,
    survivors: int,
    corrupt: int,
    scalars: tuple[Bounded, ...] = (),
    norm_bit: bool = False,
    scalar_share: float = 0.3,
    ring_bits: int | None = None,
) -> EncodingPlan:
    """The plan with noise.

    Args:
        plan: tensors, parties and rotation; uniform weights, no metric slots. Its clip and its ring are replaced.
        l2_clip: C, the largest L2 norm of a party's change, in units of the model.
        noise_multiplier: z; `Noise.multiplier(corrupt)` is at least that.
        survivors: the fewest parties in a sum.
        corrupt: how many of those may be corrupt.
        scalars: metrics with bounds that are sent along.
        norm_bit: see `Noise`.
        scalar_share: the norm of all bounded numbers, as a share of C. Where there are no tensors they have all of it.
        ring_bits: b; None: the smallest that is fine enough.

    Raises:
        LocalError: a number out of its range, or no ring is large enough.
    """
    for name, value, most in (
        ("l2_clip", l2_clip, 2.0**64),
        ("noise_multiplier", noise_multiplier, 1e6),
        ("scalar_share", scalar_share, 16.0),
    ):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise LocalError(f"{name} is {value!r}, it must be a number over 0 and at most {most:g}")
    honest = survivors - corrupt
    if honest < 1:
        raise LocalError(
            f"of {survivors} parties in a sum {corrupt} may be corrupt: nobody's noise is certain to be in it",
            hint="use a smaller gamma or delta, or more parties",
        )
    floats = any(spec.is_float and spec.size for spec in plan.tensors)
    slots = len(scalars) + norm_bit
    if not floats and not slots:
        raise LocalError("there is nothing to add noise to: no float tensors and no bounded metrics")
    scalar_clip = 0.0 if not slots else l2_clip * (scalar_share if floats else 1.0)
    noise = Noise(l2_clip if floats else 0.0, scalar_clip, scalars, norm_bit, 1.0, 1, 1, survivors)
    clip, coordinates = noise.clip, plan.vector_length + slots
    finest = max(GRAIN * math.sqrt(coordinates), _LEAST_NORM)

    def variance(largest: int) -> float:
        bound = norm_bound_squared(clip, largest / clip, coordinates)
        return math.nextafter(noise_multiplier**2 * bound / honest * (1 + 2.0**-40), math.inf)

    for bits in _candidates(ring_bits):
        room = (1 << (bits - 1)) - 1

        def has_room(largest: int, room: int = room) -> bool:
            share = variance(largest)
            return share <= MAX_VARIANCE and plan.parties * (largest + 1) + fewest_headroom(plan.parties * share, coordinates) <= room

        if (plan.parties * (finest + 1) > room and ring_bits is None) or not has_room(1):
            continue
        largest = _largest(has_room, room // plan.parties)
        if largest < finest and ring_bits is None:
            continue
        # what floor division leaves over goes to the headroom, so that the plan's largest value is exactly this one
        headroom = room - plan.parties * (largest + 1)
        bound = norm_bound_squared(clip, largest / clip, coordinates)
        noise = replace(noise, share_variance=variance(largest), norm_bound_squared=bound, headroom=headroom)
        return replace(plan, ring_bits=bits, clip=clip, noise=noise)
    raise LocalError(
        f"no ring has room for the noise of {plan.parties} parties at noise_multiplier={noise_multiplier:g} on {coordinates} coordinates"
        if ring_bits is None
        else f"a ring of {ring_bits} bits has no room for noise_multiplier={noise_multiplier:g}",
        hint="use less noise or a smaller model" if ring_bits is None else "leave ring_bits out: the smallest that fits is chosen",
    )


def _candidates(ring_bits: int | None) -> Iterator[int]:
    yield from range(MIN_RING_BITS, MAX_NOISED_RING_BITS + 1) if ring_bits is None else (ring_bits,)


def _largest(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which this holds; it does for 1 and for all below one that it holds for."""
    low, high = 1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
