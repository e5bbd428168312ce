"""Numbers become an `EncryptedTensor`: whoever has the evaluation context can, and cannot undo it.

What the tensor says in clear is its shape and its bound. Nothing else of the numbers is visible without the secret key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stfed.encrypted.checks import check_plain
from stfed.encrypted.context import EvaluationContext, SecretContext
from stfed.encrypted.layout import Layout
from stfed.encrypted.plain import as_float64, same_everywhere
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, shown


def encrypt(context: EvaluationContext | SecretContext, array: Any, *, bound: float | None = None) -> EncryptedTensor:
    """Encrypts an array of real numbers under the public key.

    Args:
        context: whose owner is to read the results. Make sure it is the right one: compare fingerprints, or load it from a signed file.
        array: numpy, torch (on any device, with or without a gradient), nested lists, one number. Computed with as float64.
        bound: no number is larger than this in absolute value, whatever the numbers are: say it, from what they mean, and nothing about
            them is visible. It travels in clear. By default it is the smallest power of two that is not below the largest absolute
            value, or below the noise: **whoever gets the tensor learns the magnitude of its largest number.**

    Returns:
        A tensor of the shape of `array`, with all multiplications left. Its error is some 10^-8 with the default parameters.

    Raises:
        LocalError: numbers that are not real and finite, none at all, a bound that they exceed, or one too large for the parameters.
    """
    if isinstance(context, SecretContext):
        context = context.public
    if not isinstance(context, EvaluationContext):
        raise LocalError(
            f"{shown(type(context).__name__)} is no evaluation context", hint="SecretContext.generate().public, or load_public(path)"
        )
    values = as_float64(array, "what is to be encrypted")
    depth, scale = context.parameters.depth, context.scales[-1]
    bound = _bound(bound, float(np.abs(values).max()), context.noise.fresh(0.0, scale))
    check_plain(context, depth, bound)
    layout = Layout.of(values.shape, context.parameters.slots)
    rows = [float(values.reshape(()))] if layout.uniform else map(same_everywhere, layout.spread(values))
    ciphertexts = context.each("encrypt", [(row,) for row in rows])
    return EncryptedTensor(context, layout, tuple(ciphertexts), bound, context.noise.fresh(bound, scale))


def _bound(stated: float | None, largest: float, noise: float) -> float:
    if stated is None:
        mantissa, exponent = math.frexp(max(largest, noise))  # exact, which log2 is not just above a power of two
        return math.ldexp(1.0, exponent - (mantissa == 0.5))
    try:
        bound = float(stated)
    except (TypeError, ValueError):
        bound = math.nan
    if not 0 <= bound < math.inf:
        raise LocalError(f"a bound of {shown(stated)}", hint="a number that no absolute value exceeds")
    if bound < largest:
        raise LocalError(f"a number is larger than the stated bound of {bound:g}", hint="clip the numbers, or state a bound that holds")
    return bound
