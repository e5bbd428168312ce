"""A party's update as numbers from [-1, 1], and the mean as a model again.

A party's numbers are, in this order: w/W (trained - received) / c for each float element of the model; the same for each integer element,
with `INTEGER_CHANGE` in the place of c; w/W metric / M for each metric; w/W itself; and the share of elements that had to be clipped. w is
its weight, W the plan's `max_weight`, c its `clip`, M its `metric_bound`. So a sum over n parties lies in [-n, n], whatever their data are.

What a party may not send is refused here, before anything is encrypted. The messages name the tensor or metric and never a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding import DecodedSum
from stfed.encoding.arrays import describe
from stfed.encoding.metrics import MetricSchema
from stfed.encoding.plan import MAX_METRIC_SLOTS
from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError, PeerError, QuorumError, shown
from stfed.flower.ckks.plan import HEADER, Numbers, SumPlan


def numbers_of(
    plan: SumPlan, received: Mapping[str, Any], trained: Mapping[str, Any], weight: object, metrics: Mapping[str, object]
) -> tuple[Numbers, MetricSchema]:
    """What a party encrypts, all of it secret, and the names of its metrics, which are not.

    Raises:
        LocalError: a tensor that is not planned, NaN or infinity, or a metric that is over its bound, by name and without a value.
    """
    schema = MetricSchema.of(metrics)
    if len(schema.names) > MAX_METRIC_SLOTS:
        raise LocalError(f"there are more than {MAX_METRIC_SLOTS} metrics")
    share = 1.0 if plan.uniform else _share(plan, weight)
    numbers = np.empty(plan.length(len(schema.names)))
    if odd := {spec.name for spec in plan.tensors} ^ trained.keys():
        raise LocalError(f"the trained model and the one that came differ in tensor {shown(min(map(str, odd)))}")
    clipped = 0
    for spec, place in plan.pieces():
        change = _delta(spec, received[spec.name], trained[spec.name]) / plan.unit(spec)
        clipped += int(np.count_nonzero(np.abs(change) > 1))
        np.multiply(np.clip(change, -1, 1), share, out=numbers[place])
    for at, name in enumerate(schema.names):
        value = metrics[name]
        assert isinstance(value, int | float)
        if not abs(value) <= plan.metric_bound:  # NaN is refused, too
            raise LocalError(f"metric {shown(name)} is not finite, or over {plan.metric_bound:g} in size", hint="raise metric_bound")
        numbers[plan.elements + at] = share * float(value) / plan.metric_bound
    numbers[-HEADER:] = share, clipped / max(1, plan.elements)
    return numbers, schema


def average(plan: SumPlan, sums: Numbers, count: int, error: float, scalar_error: float) -> Numbers:
    """The weighted mean of what parties' numbers have of the model and the metrics, and behind it the last two sums as they are.

    Args:
        plan: of the sum.
        sums: over `count` parties.
        count: how many.
        error: the most that a sum over the model is off.
        scalar_error: the most that another one is off.

    Raises:
        PeerError: no such parties can have these sums.
        QuorumError: they have no weight.
    """
    if len(sums) < plan.length(0) or not np.abs(sums).max(initial=0) <= count + error + scalar_error:
        raise PeerError(f"these are no sums over {count} parties: there are fewer numbers, or larger ones")
    total = sums[-HEADER]
    if total <= scalar_error:
        raise QuorumError(f"the {count} parties summed have no weight, so there is no mean", hint="sample parties that have examples")
    return np.concatenate((sums[:-HEADER] / total, sums[-HEADER:]))


def decode(
    plan: SumPlan, mean: Numbers, count: int, error: float, scalar_error: float, received: Mapping[str, Any], schema: MetricSchema
) -> DecodedSum:
    """The model and the metrics that an `average` stands for.

    Args:
        plan: of the sum.
        mean: of `count` parties.
        count: how many.
        error: the most that a sum over the model was off.
        scalar_error: the most that another one was off.
        received: the model that all of them got.
        schema: the metrics that all of them have.

    Raises:
        PeerError: no such parties can have this mean.
    """
    total, clipped = (float(value) for value in mean[-HEADER:])
    # |a/b - A/B| <= (|a - A| + |A/B| |b - B|) / b, and |A/B| <= 1 in these units.
    off = (error + scalar_error) / total if total > scalar_error else math.inf
    fits = mean.shape == (plan.length(len(schema.names)),) and max(total, abs(clipped)) <= count + scalar_error
    if not fits or not np.abs(mean[:-HEADER]).max(initial=0) <= 1 + off < math.inf:
        raise PeerError(f"this is no mean over {count} parties: there are more or fewer numbers, or some that no parties can have")
    arrays = {spec.name: _moved(spec, received[spec.name], mean[place] * plan.unit(spec)) for spec, place in plan.pieces()}
    metrics = (float(value) * plan.metric_bound for value in mean[plan.elements : -HEADER])
    weight = float(count) if plan.uniform else _whole(total * plan.max_weight, scalar_error * plan.max_weight)
    return DecodedSum(
        {name: arrays[name] for name in received},
        dict(zip(schema.names, metrics, strict=True)),
        weight,
        max(0, round(clipped * plan.elements)),
        0,
        off * plan.clip,
    )


def _share(plan: SumPlan, weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight) or weight < 0:
        raise LocalError("the weight is not a finite number, 0 or more")
    return min(float(weight) / plan.max_weight, 1.0)


def _delta(spec: TensorSpec, before: Any, after: Any) -> Numbers:
    before, after = np.asarray(before), np.asarray(after)
    for whose, array in (("received", before), ("trained", after)):
        if describe(spec.name, array) != (spec.dtype, spec.shape):
            raise LocalError(f"tensor {shown(spec.name)} of the {whose} model is not {spec.dtype} of shape {spec.shape}, as planned")
        if spec.is_float and not np.isfinite(array).all():
            raise LocalError(f"tensor {shown(spec.name)} of the {whose} model has NaN or infinity", hint="did the training diverge?")
    kind = np.float64 if spec.is_float else np.int64  # whose difference is right modulo 2^64, and so for every counter
    return np.asarray(after.reshape(-1).astype(kind) - before.reshape(-1).astype(kind), np.float64)


def _moved(spec: TensorSpec, before: Any, delta: Numbers) -> NDArray[Any]:
    """The received tensor with the mean change; integers to nearest, and never out of their range."""
    before = np.asarray(before).reshape(-1)
    if spec.is_float:
        return np.asarray(before + delta, spec.dtype).reshape(spec.shape)
    if spec.dtype == "bool":
        return np.asarray(before + delta >= 0.5).reshape(spec.shape)
    low, high = np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max
    moved = [min(max(int(one) + round(change), low), high) for one, change in zip(before.tolist(), delta.tolist(), strict=True)]
    return np.array(moved, spec.dtype).reshape(spec.shape)


def _whole(total: float, error: float) -> int | float:
    """A total weight: the whole number that is within the error, if there is one, because nearly all weights are counts."""
    nearest = round(total)
    return nearest if abs(total - nearest) <= error < 0.5 else total
