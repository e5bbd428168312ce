"""From a trained model to a `Vector`, and from the sum of such vectors to the weighted mean.

A party sends w * (trained - received) / W, where `received` is the model that all parties got, w its weight and W the plan's
`max_weight`; its weight and w * metric travel in the same vector. So the coordinator learns the weighted mean, the total weight, how many
coordinates were clipped and how many weights were out of range, and of no party alone any of these.

Float tensors are clipped and stochastically rounded (`quantize`), everything else is exact (`wide`, `integers`). What a party may not
send, such as NaN or a changed shape, is refused here, before anything leaves it; the messages name the tensor and never a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import Array, empty_like, flat, placed_like
from stfed.encoding.checks import refuse_non_finite, refuse_other_arrays
from stfed.encoding.clip import clip, within
from stfed.encoding.integers import decode_integers, encode_integers
from stfed.encoding.metrics import MetricSchema
from stfed.encoding.plan import MAX_METRIC, METRIC_FRACTION_BITS, WEIGHT_FRACTION_BITS, EncodingPlan
from stfed.encoding.quantize import TILE, FillRandom, Tile, narrow, widen
from stfed.encoding.tensors import TensorSpec
from stfed.encoding.vector import Vector
from stfed.errors import LocalError, PeerError, QuorumError

_METRIC_STEPS = METRIC_FRACTION_BITS - WEIGHT_FRACTION_BITS
_METRIC_OFFSET = MAX_METRIC << _METRIC_STEPS


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
    """

    arrays: dict[str, Array] = field(repr=False)
    metrics: dict[str, float]
    total_weight: int | float
    clipped: int
    saturated: int
    error_bound: float


def encode_update(
    plan: EncodingPlan,
    received: Mapping[str, Array],
    trained: Mapping[str, Array],
    weight: object,
    metrics: Mapping[str, object],
    fill_random: FillRandom,
) -> EncodedUpdate:
    """The vector of one party. Memory beyond the vector is constant while the arrays are contiguous and on the host.

    Args:
        plan: agreed by all.
        received: the model that came with the round, the same for all parties.
        trained: this party's model.
        weight: this party's weight, an int or a float, see `EncodingPlan.weight_units`.
        metrics: this party's metrics, ints and floats; `plan.weight_key` is left out if it is among them.
        fill_random: asked for 8 bytes a metric, in slot order, then for 4 bytes a float coordinate, in vector order.

    Raises:
        LocalError: anything that the plan does not allow or that has no mean, by name.
    """
    units, saturated = plan.weight_units(weight)
    metrics = {name: value for name, value in metrics.items() if name != plan.weight_key}
    schema = MetricSchema.of(metrics)
    if len(schema.names) > plan.metric_slots:
        raise LocalError(
            f"there are {len(schema.names)} metrics, the plan has room for {plan.metric_slots}",
            hint="raise metric_slots or send fewer metrics",
        )
    refuse_other_arrays(plan, received, "received")
    refuse_other_arrays(plan, trained, "trained")

    layout, tile, clipped = plan.layout(), Tile(), 0
    vector = Vector.zeros(plan)
    ring, wide = vector.ring, vector.wide
    wide[layout.weight] = plan.weight_format.split(units)
    wide[layout.saturated] = plan.saturated_format.split(int(saturated))
    slots = wide[layout.metrics].reshape(plan.metric_format.limbs, plan.metric_slots)
    for slot, product in enumerate(schema.products(metrics, Fraction(units, 1 << WEIGHT_FRACTION_BITS), fill_random)):
        slots[:, slot] = plan.metric_format.split(product)
    for spec, place in zip(plan.tensors, layout.tensors, strict=True):
        before, after = flat(received[spec.name]), flat(trained[spec.name])
        if spec.is_float:
            clipped += _encode_floats(plan, spec, before, after, plan.weighted_scale(units), ring[place], tile, fill_random)
        else:
            number = plan.integer_format(spec.dtype)
            limbs = wide[place].reshape(number.limbs, spec.size)
            for part in _tiles(spec.size):
                clipped += encode_integers(spec, number, before[part], after[part], units, limbs[:, part])
    wide[layout.clipped] = plan.clipped_format.split(clipped)
    return EncodedUpdate(vector, schema, clipped)


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

    layout, tile = plan.layout(), Tile()
    ring, wide = total.ring, total.wide
    header = (plan.weight_format, layout.weight), (plan.clipped_format, layout.clipped), (plan.saturated_format, layout.saturated)
    units, clipped, saturated = (number.join(wide[place].tolist()) for number, place in header)
    if any(value > count * number.largest for value, (number, _) in zip((units, clipped, saturated), header, strict=True)):
        raise PeerError(f"the sum cannot be that of {count} parties: its weight or one of its counts is too large")
    if not units:
        raise QuorumError(f"the {count} parties summed have no weight, so there is no mean", hint="sample parties that have examples")

    arrays: dict[str, Array] = {}
    for spec, place in zip(plan.tensors, layout.tensors, strict=True):
        made, out = empty_like(received[spec.name])
        before = flat(received[spec.name])
        if spec.is_float:
            scale = plan.mean_scale(units)
            for part in _tiles(spec.size):
                mean = tile.dequantize(ring[place][part], scale, plan.ring_bits)
                np.add(mean, widen(before[part]), out=mean)
                narrow(mean, out[part])
        else:
            number = plan.integer_format(spec.dtype)
            limbs = wide[place].reshape(number.limbs, spec.size)
            for part in _tiles(spec.size):
                decode_integers(spec, number, before[part], limbs[:, part], units, out[part])
        arrays[spec.name] = placed_like(made, received[spec.name])
    weight = Fraction(units, 1 << WEIGHT_FRACTION_BITS)
    total_weight = int(weight) if weight.denominator == 1 else float(weight)
    metrics = schema.assemble(_metric_means(plan, wide[layout.metrics], len(schema.names), units))
    return DecodedSum(arrays, metrics, total_weight, clipped, saturated, plan.error_bound(total_weight, count))


def _encode_floats(
    plan: EncodingPlan,
    spec: TensorSpec,
    before: NDArray[Any],
    after: NDArray[Any],
    scale: float,
    out: NDArray[Any],
    tile: Tile,
    fill_random: FillRandom,
) -> int:
    clipped = 0
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf and overflowing differences are found below
        for part in _tiles(spec.size):
            left, right = widen(after[part]), widen(before[part])
            delta = tile.difference(left, right)
            if not within(delta, plan.clip):
                refuse_non_finite(spec.name, "trained", left)
                refuse_non_finite(spec.name, "received", right)
                clipped += clip(delta, plan.clip)
            tile.quantize(delta, scale, out[part], plan.ring_bits, fill_random)
    return clipped


def _metric_means(plan: EncodingPlan, words: NDArray[np.uint32], slots: int, units: int) -> list[float]:
    number, means = plan.metric_format, []
    limbs = words.reshape(number.limbs, plan.metric_slots)
    for slot in range(slots):
        joined = number.join(limbs[:, slot].tolist())
        if joined > 2 * _METRIC_OFFSET * units:
            raise PeerError("a metric of the sum is out of range, which no honest parties can produce")
        means.append(float(Fraction(joined - _METRIC_OFFSET * units, units << _METRIC_STEPS)))
    return means


def _tiles(size: int) -> list[slice]:
    return [slice(start, min(start + TILE, size)) for start in range(0, size, TILE)]
