"""From a party's `Update` to a `Vector`, and from the sum of such vectors to the weighted mean.

The coordinator learns the weighted mean, the total weight, how many coordinates were clipped and how many weights were out of range, and
of no party alone any of these. A party in a hurry, or short of memory, makes no `Vector`: see `stfed.secagg.payload`, which sends the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import Array, empty_like, flat, placed_like
from stfed.encoding.checks import refuse_other_arrays
from stfed.encoding.coordinates import Coordinates
from stfed.encoding.integers import decode_integers
from stfed.encoding.metrics import MetricSchema
from stfed.encoding.noise import SCALARS
from stfed.encoding.noising import MAX_ATTEMPTS, never_accepted
from stfed.encoding.plan import MAX_METRIC, METRIC_FRACTION_BITS, WEIGHT_FRACTION_BITS, EncodingPlan
from stfed.encoding.quantize import TILE, FillRandom, Tile, narrow, widen
from stfed.encoding.rotation import tiles
from stfed.encoding.update import Update
from stfed.encoding.vector import Vector
from stfed.errors import LocalError, PeerError, QuorumError

_METRIC_STEPS = METRIC_FRACTION_BITS - WEIGHT_FRACTION_BITS
_METRIC_OFFSET = MAX_METRIC << _METRIC_STEPS

_Made: TypeAlias = tuple[Array, NDArray[Any], NDArray[Any]]
"""A tensor of the mean, its flat memory, and the received one as flat memory."""


@dataclass(slots=True, eq=False)
class EncodedUpdate:
    """What one party sends, before it is masked. All of it but the schema is secret, so it prints sizes only.

    Attributes:
        vector: what is to be masked and sent.
        schema: which metrics are in it.
        clipped: how many coordinates of this party were clipped.
    """

    vector: Vector = field(repr=False)
    schema: MetricSchema
    clipped: int = field(repr=False)


@dataclass(slots=True, eq=False)
class DecodedSum:
    """The weighted mean of the parties summed.

    Attributes:
        arrays: the mean model: kinds, dtypes, shapes and order of names as in the plan and in `received`.
        metrics: the weighted mean of each metric, off by at most 2^-31 * parties / total weight and the rounding to a double.
        total_weight: exact: an int if it is a whole number, otherwise a float (which is nearest, and exact under 2^33).
        clipped: coordinates clipped, over all parties.
        saturated: parties whose weight was out of range and counts as the nearest one in it.
        error_bound: see `EncodingPlan.error_bound`.
        within: with noise and its norm bit, the noised share of parties whose norm was within the clip; it may lie outside [0, 1].
    """

    arrays: dict[str, Array] = field(repr=False)
    metrics: dict[str, float]
    total_weight: int | float
    clipped: int
    saturated: int
    error_bound: float
    within: float | None = None


def encode_update(
    plan: EncodingPlan,
    received: Mapping[str, Array],
    trained: Mapping[str, Array],
    weight: object,
    metrics: Mapping[str, object],
    fill_random: FillRandom,
) -> EncodedUpdate:
    """The vector of one party.

    Args:
        plan: agreed by all.
        received: the model that came with the round, the same for all parties.
        trained: this party's model.
        weight: see `Update`.
        metrics: see `Update`.
        fill_random: asked for 8 bytes a metric, in slot order, then for 4 bytes a float coordinate, in vector order; with noise, behind
            each stretch of those, for the noise.

    Raises:
        LocalError: anything that the plan does not allow or that has no mean, by name.
    """
    update, tile = Update(plan, received, trained, weight, metrics, fill_random), Tile(plan.vector_length)
    vector = Vector(np.empty(plan.vector_length, plan.lane), np.empty(0, np.uint32))
    for _ in range(MAX_ATTEMPTS):
        update.begin()
        parts = ((part.start, vector.ring[part]) for part in tiles(plan.vector_length, TILE))
        clipped = sum(update.encode(start, words, tile, fill_random, fill_random) for start, words in parts)
        if update.accepted():
            break
    else:
        raise never_accepted()
    vector.wide = update.wide(clipped)
    vector.reduce(plan)
    return EncodedUpdate(vector, update.schema, plan.clipped_format.join(vector.wide[plan.layout().clipped].tolist()))


def decode_sum(plan: EncodingPlan, total: Vector, count: int, received: Mapping[str, Array], schema: MetricSchema) -> DecodedSum:
    """The weighted mean that the sum of `count` vectors stands for.

    Args:
        plan: agreed by all.
        total: the sum; of its ring part only the value mod 2^b counts.
        count: how many parties' vectors are in it.
        received: the model that all of them got.
        schema: the metrics that all of them sent.

    Raises:
        LocalError: arguments that do not belong together.
        PeerError: no `count` parties that follow the protocol can have sent this sum: one did not, or the masks are not all gone.
        QuorumError: the total weight is zero, so there is no mean.
    """
    total.check(plan)
    if not 1 <= count <= plan.parties:
        raise LocalError(f"count={count} is outside [1, {plan.parties}], the parties of the plan")
    if len(schema.names) > plan.metric_slots:
        raise PeerError(f"there are {len(schema.names)} metrics, the plan has room for {plan.metric_slots}")
    refuse_other_arrays(plan, received, "received")

    layout, wide = plan.layout(), total.wide
    header = (plan.weight_format, layout.weight), (plan.clipped_format, layout.clipped), (plan.saturated_format, layout.saturated)
    units, clipped, saturated = (number.join(wide[place].tolist()) for number, place in header)
    if any(value > count * number.largest for value, (number, _) in zip((units, clipped, saturated), header, strict=True)):
        raise PeerError(f"the sum cannot be that of {count} parties: its weight or one of its counts is too large")
    if not units:
        raise QuorumError(f"the {count} parties summed have no weight, so there is no mean", hint="sample parties that have examples")

    made: dict[str, _Made] = {spec.name: (*empty_like(received[spec.name]), flat(received[spec.name])) for spec in plan.tensors}
    bounded = np.zeros(plan.noise.slots if plan.noise else 0)
    if bounded.size:
        made[SCALARS] = bounded, bounded, np.zeros_like(bounded)
    _decode_floats(plan, total.ring, plan.mean_scale(units), made)
    for spec, place in zip(plan.tensors, layout.tensors, strict=True):
        if not spec.is_float:
            (_, out, before), number = made[spec.name], plan.integer_format(spec.dtype)
            limbs = wide[place].reshape(number.limbs, spec.size)
            for part in tiles(spec.size, TILE):
                decode_integers(spec, number, before[part], limbs[:, part], units, out[part])
    arrays = {spec.name: placed_like(made[spec.name][0], received[spec.name]) for spec in plan.tensors}
    weight = Fraction(units, 1 << WEIGHT_FRACTION_BITS)
    total_weight = int(weight) if weight.denominator == 1 else float(weight)
    metrics = schema.assemble(_metric_means(plan, wide[layout.metrics], len(schema.names), units))
    within: float | None = None
    if plan.noise is not None:
        noised, within = plan.noise.means(bounded)
        metrics.update(noised)
    return DecodedSum(arrays, metrics, total_weight, clipped, saturated, plan.error_bound(total_weight, count), within)


def _decode_floats(
    plan: EncodingPlan, ring: NDArray[Any], scale: float, made: Mapping[str, tuple[Array, NDArray[Any], NDArray[Any]]]
) -> None:
    """Writes received + mean delta into every float tensor of `made`: (array, its flat memory, the flat received one)."""
    tile, coordinates = Tile(ring.size), Coordinates(plan)
    for stretch in tiles(ring.size, TILE):
        mean = tile.dequantize(ring[stretch], scale, plan.ring_bits)
        if plan.rotation is not None:
            plan.rotation.backward(mean, stretch.start)
        for spec, part, place in coordinates.pieces(stretch.start, stretch.stop):
            _, out, before = made[spec.name]
            np.add(mean[place], widen(before[part]), out=mean[place])
            narrow(mean[place], out[part])


def _metric_means(plan: EncodingPlan, words: NDArray[np.uint32], slots: int, units: int) -> list[float]:
    number, means = plan.metric_format, []
    limbs = words.reshape(number.limbs, plan.metric_slots)
    for slot in range(slots):
        joined = number.join(limbs[:, slot].tolist())
        if joined > 2 * _METRIC_OFFSET * units:
            raise PeerError("a metric of the sum is out of range, which no honest parties can produce")
        means.append(float(Fraction(joined - _METRIC_OFFSET * units, units << _METRIC_STEPS)))
    return means
