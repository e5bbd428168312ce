"""Plain operands: numbers from wherever they come, as the float64 that they are computed with.

Taken are numpy arrays, torch tensors (bfloat16 as well, on any device, with or without a gradient), whatever converts itself to a numpy
array (pandas), nested lists and single numbers. They must be real and finite: a NaN would not stay in its slot, but drown a whole
ciphertext. Integers above 2^53 become the float64 next to them.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import is_torch
from stfed.errors import LocalError, shown


def is_plain(value: object) -> bool:
    """Whether it is of a kind that can be a plain operand. For others an operator returns NotImplemented, and Python names both types."""
    return isinstance(value, numbers.Number | list | tuple) or is_torch(value) or hasattr(type(value), "__array__")


def as_float64(value: Any, what: str = "a plain operand") -> NDArray[np.float64]:
    """The numbers as float64, of the shape that they have; `what` is their name in errors. Not to be written to: it may be the caller's.

    Raises:
        LocalError: not numbers, not real, not finite, none at all, or an array that hides some of its elements.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise LocalError(f"{what} is a masked array, and a slot cannot be missing", hint="fill it: array.filled(0)")
    try:
        if is_torch(value):
            value = value.detach().cpu().resolve_conj().resolve_neg()
            array = value.numpy() if str(value.dtype) != "torch.bfloat16" else value.float().numpy()
        else:
            array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(each, numbers.Real) for each in array.flat):  # integers of more than 64 bits
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, LocalError):
            raise
        raise LocalError(f"{what} is no array of numbers: {type(value).__name__}", hint="pass numpy, torch, lists or numbers") from None
    if array.dtype.kind not in "biuf":
        raise LocalError(f"{what} is of dtype {shown(str(array.dtype))}", hint="real numbers only: float, int or bool")
    if array.size == 0:
        raise LocalError(f"{what} of shape {array.shape} has no elements")
    with np.errstate(over="ignore"):  # what of a longdouble is too large becomes infinite, and is refused
        result: NDArray[np.float64] = array.astype(np.float64, copy=False)
    if not np.isfinite(result).all():
        raise LocalError(f"{what} has elements that are NaN or infinite", hint="replace them before: numpy.nan_to_num")
    return result


def same_everywhere(values: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """One float if all are the same: encoding it takes no transform, and multiplying with it half the time. Otherwise the array."""
    first = float(values.flat[0])
    return first if (values == first).all() else values
