"""Which arrays may be encrypted for computing: real numbers that may come back a little different, because CKKS is approximate."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from stfed.errors import LocalError, shown

AT_REST = "plain=True seals it as it is, exact and of any type, but not to be computed on"


def checked(array: Any) -> Any:
    """A numpy array or torch tensor of floating-point numbers, from one of these, a number, or nested lists of numbers.

    Raises:
        LocalError: it holds anything else. Whole numbers and truth values are refused, too: they would come back as fractions next to them.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        if not array.dtype.is_floating_point:
            raise _unfit(array.dtype)
        return array
    try:
        found = np.asarray(array)
    except ValueError as error:
        raise LocalError(f"this is no array: {error}", hint="give numpy, torch, or nested lists of equal lengths") from None
    if found.dtype.kind != "f":
        raise _unfit(found.dtype, "" if found.dtype != object else f" ({shown(type(array).__name__)})")
    return found


def _unfit(dtype: Any, more: str = "") -> LocalError:
    return LocalError(
        f"an array of {dtype}{more} is not encrypted for computing, which is approximate",
        hint=f"give floating-point numbers, such as array.astype(float); or {AT_REST}",
    )
