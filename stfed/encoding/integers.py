"""Integer and bool tensors (counters, ids, masks): their weighted mean is computed exactly, then rounded once to the nearest integer.

A party sends w (d + D) for every element, a product of integers: w its weight in steps of 2^-20, d = trained - received its change and D
the bound on |d| (`INTEGER_CHANGE`: the dtype's whole range, at most 2^32 - 1). The sum less D times the total weight, over the total
weight, is the mean change as an exact fraction. Ties go up; for bool this is the weighted majority, and True if the votes are even.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import INTEGER_CHANGE
from stfed.encoding.tensors import TensorSpec
from stfed.encoding.wide import WideFormat
from stfed.errors import PeerError


def encode_integers(
    spec: TensorSpec, wide: WideFormat, received: NDArray[Any], trained: NDArray[Any], weight_units: int, out: NDArray[Any]
) -> int:
    """Writes one tile and returns how many elements were clipped to the bound.

    A change over the bound is clipped and counted, like that of a float: a refusal would tell the coordinator, who chooses `received`, on
    which side of a number the trained one lies.

    Args:
        spec: the tensor.
        wide: `plan.integer_format(spec.dtype)`.
        received: shape (k,).
        trained: shape (k,).
        weight_units: the party's weight, see `EncodingPlan.weight_units`.
        out: shape (limbs, k).
    """
    bound = INTEGER_CHANGE[spec.dtype]
    before, after = _as_64_bits(received), _as_64_bits(trained)
    # Modulo 2^64 the larger less the smaller is the true distance; only then is the signed difference known not to have wrapped.
    distance = np.maximum(before, after).view(np.uint64) - np.minimum(before, after).view(np.uint64)
    elements = after.view(np.uint64) - before.view(np.uint64) + np.uint64(bound)
    far = distance > bound
    elements[far] = np.where(after[far] > before[far], np.uint64(2 * bound), np.uint64(0))
    wide.split_products(elements, weight_units, out)
    return int(np.count_nonzero(far))


def decode_integers(
    spec: TensorSpec, wide: WideFormat, received: NDArray[Any], sums: NDArray[Any], total_units: int, out: NDArray[Any]
) -> None:
    """Reads one tile of the sum; `out` and `received` have shape (k,), `sums` has shape (limbs, k).

    Raises:
        PeerError: no parties that follow the protocol can have sent this sum.
    """
    bound = INTEGER_CHANGE[spec.dtype]
    change = wide.join_products(sums) - bound * total_units
    means = _as_64_bits(received).astype(object) + (2 * change + total_units) // (2 * total_units)
    low, high = (0, 1) if spec.dtype == "bool" else (np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max)
    if means.min(initial=low) < low or means.max(initial=high) > high:
        raise PeerError(f"tensor {spec.name!r}: the sum is outside {spec.dtype}, which no honest parties can produce")
    out[:] = means.astype(out.dtype)


def _as_64_bits(flat: NDArray[Any]) -> NDArray[Any]:
    """uint64 as it is, everything smaller as int64: the numbers are the same."""
    return flat.astype(np.uint64 if flat.dtype == np.uint64 else np.int64)
