"""What no model may be before anything leaves a party: other than planned, or not finite. Messages name the tensor and never a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import Array, describe
from stfed.encoding.plan import EncodingPlan
from stfed.errors import LocalError


def refuse_other_arrays(plan: EncodingPlan, arrays: Mapping[str, Array], whose: str) -> None:
    """Raises `LocalError` unless `arrays` has exactly the plan's names, each with the plan's dtype and shape."""
    names = {spec.name for spec in plan.tensors}
    for relation, odd in (("lacks", names - arrays.keys()), ("has the unplanned", arrays.keys() - names)):
        if odd:
            raise LocalError(f"the {whose} model {relation} tensor {min(map(str, odd))!r} ({len(odd)} such tensors)")
    for spec in plan.tensors:
        dtype, shape = describe(spec.name, arrays[spec.name])
        if dtype != spec.dtype:
            raise LocalError(f"tensor {spec.name!r} of the {whose} model is {dtype}, the plan says {spec.dtype}")
        if shape != spec.shape:
            raise LocalError(f"tensor {spec.name!r} of the {whose} model has the shape {shape}, the plan says {spec.shape}")


def refuse_non_finite(name: str, whose: str, values: NDArray[Any]) -> None:
    """Raises `LocalError` if a value is NaN or infinite."""
    if not np.isfinite(values).all():
        raise LocalError(f"tensor {name!r} of the {whose} model has NaN or infinity", hint="nothing was sent; did the training diverge?")
