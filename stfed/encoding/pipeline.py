"""From a trained model to a ring vector, and from the sum of such vectors to the weighted mean.

A party sends w * (trained - received) / W, where `received` is the model that all parties got, w its weight and W the plan's
`max_weight`; its weight and w * metric travel in the same vector. So the coordinator learns the weighted mean, the total weight and how
many coordinates were clipped, and of no party alone any of these.

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
from stfed.encoding.metrics import Mean, MetricSchema, MetricValue
from stfed.encoding.plan import MAX_METRIC, METRIC_FRACTION_BITS, WEIGHT_FRACTION_BITS, EncodingPlan
from stfed.encoding.quantize import TILE, FillRandom, Tile, narrow, widen
from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, PeerError, QuorumError

_METRIC_OFFSET = MAX_METRIC << METRIC_FRACTION_BITS


@dataclass(slots=True, eq=False)
class EncodedUpdate:
    """What one party sends, before it is masked. All of it but the schema is secret, so it prints sizes only.

    Attributes:
        vector: shape (u,), the plan's lane dtype, values mod 2^b.
        schema: which metrics are in it.
        clipped: how many coordinates of this party were clipped.
    """

    vector: NDArray[Any] = field(repr=False)
    schema: MetricSchema
    clipped: int = field(repr=False)


@dataclass(slots=True, eq=False)
class DecodedSum:
    """The weighted mean of the parties summed.

    Attributes:
        arrays: the mean model: kinds, dtypes, shapes and order of names as in the plan and in `received`.
        metrics: the weighted mean of each metric, a float or a list of floats.
        total_weight: exact: an int if it is a whole number, otherwise a float (which is nearest, and exact under 2^33).
        clipped: coordinates clipped, over all parties.
        error_bound: see `EncodingPlan.error_bound`.
    """

    arrays: dict[str, Array] = field(repr=False)
    metrics: dict[str, Mean]
    total_weight: int | float
    clipped: int
    error_bound: float


def encode_update(
    plan: EncodingPlan,
    received: Mapping[str, Array],
    trained: Mapping[str, Array],
    weight: float,
    metrics: Mapping[str, MetricValue],
    fill_random: FillRandom,
) -> EncodedUpdate:
    """The ring vector of one party. Memory beyond the vector is constant while the arrays are contiguous and on the host.

    Args:
        plan: agreed by all.
        received: the model that came with the round, the same for all parties.
        trained: this party's model.
        weight: this party's weight, see `EncodingPlan.weight_units`.
        metrics: this party's metrics; `plan.weight_key` may be among them if it equals `weight`, and takes no slot.
        fill_random: asked for 4 bytes a float coordinate, in vector order.

    Raises:
        LocalError: anything that the plan does not allow or that has no mean, by name.
    """
    units = plan.weight_units(weight)
    if metrics.get(plan.weight_key, weight) != weight:
        raise LocalError(f"metric {plan.weight_key!r} and the weight differ", hint=f"{plan.weight_key!r} is the weight of the plan")
    metrics = {name: value for name, value in metrics.items() if name != plan.weight_key}
    schema = MetricSchema.of(metrics)
    if schema.slots > plan.metric_slots:
        raise LocalError(
            f"the metrics have {schema.slots} numbers, the plan has room for {plan.metric_slots}",
            hint="raise metric_slots or send fewer metrics",
        )
    refuse_other_arrays(plan, received, "received")
    refuse_other_arrays(plan, trained, "trained")

    layout, tile, clipped = plan.layout(), Tile(), 0
    vector = np.zeros(plan.vector_length, plan.lane)
    vector[layout.weight] = plan.weight_format.split(units)
    words = [word for value in schema.units(metrics) for word in plan.metric_format.split(units * (value + _METRIC_OFFSET))]
    vector[layout.metrics][: len(words)] = words
    for spec, place in zip(plan.tensors, layout.tensors, strict=True):
        before, after = flat(received[spec.name]), flat(trained[spec.name])
        if spec.is_float:
            clipped += _encode_floats(plan, spec, before, after, plan.weighted_scale(units), vector[place], tile, fill_random)
        else:
            wide = plan.integer_format(spec.dtype)
            limbs = vector[place].reshape(wide.limbs, spec.size)
            for part in _tiles(spec.size):
                encode_integers(spec, wide, before[part], after[part], units, limbs[:, part])
    vector[layout.clipped] = plan.clipped_format.split(clipped)
    return EncodedUpdate(vector, schema, clipped)


def decode_sum(plan: EncodingPlan, total: NDArray[Any], count: int, received: Mapping[str, Array], schema: MetricSchema) -> DecodedSum:
    """The weighted mean that the sum of `count` vectors stands for.

    Args:
        plan: agreed by all.
        total: the sum, shape (u,), the plan's lane dtype; only its value mod 2^b counts.
        count: how many parties' vectors are in it.
        received: the model that all of them got.
        schema: the metrics that all of them sent.

    Raises:
        LocalError: arguments that do not belong together.
        PeerError: no `count` parties that follow the protocol can have sent this sum: one did not, or the masks are not all gone.
        QuorumError: the total weight is zero, so there is no mean.
    """
    if total.dtype != plan.lane or total.shape != (plan.vector_length,):
        raise LocalError(f"the sum is {total.dtype}{list(total.shape)}, the plan's vectors are {plan.lane}[{plan.vector_length}]")
    if not 1 <= count <= plan.parties:
        raise LocalError(f"count={count} is outside [1, {plan.parties}], the parties of the plan")
    if schema.slots > plan.metric_slots:
        raise PeerError(f"the metrics have {schema.slots} numbers, the plan has room for {plan.metric_slots}")
    refuse_other_arrays(plan, received, "received")

    layout, tile = plan.layout(), Tile()
    units = plan.weight_format.join(total[layout.weight].tolist())
    clipped = plan.clipped_format.join(total[layout.clipped].tolist())
    if units > count * plan.weight_format.largest or clipped > count * plan.clipped_format.largest:
        raise PeerError(f"the sum cannot be that of {count} parties: its weight or its count of clipped values is too large")
    if not units:
        raise QuorumError(f"the {count} parties summed have no weight, so there is no mean", hint="sample parties that have examples")

    arrays: dict[str, Array] = {}
    for spec, place in zip(plan.tensors, layout.tensors, strict=True):
        made, out = empty_like(received[spec.name])
        before = flat(received[spec.name])
        if spec.is_float:
            scale = plan.mean_scale(units)
            for part in _tiles(spec.size):
                mean = tile.dequantize(total[place][part], scale, plan.ring_bits)
                np.add(mean, widen(before[part]), out=mean)
                narrow(mean, out[part])
        else:
            wide = plan.integer_format(spec.dtype)
            limbs = total[place].reshape(wide.limbs, spec.size)
            for part in _tiles(spec.size):
                decode_integers(spec, wide, before[part], limbs[:, part], units, out[part])
        arrays[spec.name] = placed_like(made, received[spec.name])
    weight = Fraction(units, 1 << WEIGHT_FRACTION_BITS)
    total_weight = int(weight) if weight.denominator == 1 else float(weight)
    metrics = schema.assemble(_metric_means(plan, total[layout.metrics], schema.slots, units))
    return DecodedSum(arrays, metrics, total_weight, clipped, plan.error_bound(total_weight, count))


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


def _metric_means(plan: EncodingPlan, words: NDArray[Any], slots: int, units: int) -> list[float]:
    wide, means = plan.metric_format, []
    for slot in range(slots):
        joined = wide.join(words[slot * wide.limbs : (slot + 1) * wide.limbs].tolist())
        if joined > 2 * _METRIC_OFFSET * units:
            raise PeerError("a metric of the sum is out of range, which no honest parties can produce")
        means.append(float(Fraction(joined - _METRIC_OFFSET * units, units << METRIC_FRACTION_BITS)))
    return means


def _tiles(size: int) -> list[slice]:
    return [slice(start, min(start + TILE, size)) for start in range(0, size, TILE)]
