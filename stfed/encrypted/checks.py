"""What every operation on encrypted tensors checks before it computes anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext
    from stfed.encrypted.tensor import EncryptedTensor


def check_keys(*tensors: EncryptedTensor) -> tuple[EncryptedTensor, ...]:
    """Refuses tensors of different keys. The same ones, all of them `by_others` if one is.

    Raises:
        LocalError: their contexts differ.
    """
    first = tensors[0].context.fingerprint
    for tensor in tensors[1:]:
        if tensor.context.fingerprint != first:
            raise LocalError(
                f"these tensors are encrypted under different keys: {first.hex()[:16]} and {tensor.context.fingerprint.hex()[:16]}",
                hint="encrypt both under the same evaluation context",
            )
    context = max((tensor.context for tensor in tensors), key=lambda each: each.by_others)
    return tuple(tensor if tensor.context is context else replace(tensor, context=context) for tensor in tensors)


def check_left(context: EvaluationContext, left: int, needed: int, what: str) -> None:
    """Refuses what takes more multiplications, one after the other, than are left.

    Args:
        context: of the operands.
        left: how many the operand with the fewest has.
        needed: how many it takes.
        what: the operation, for the error: "a product".

    Raises:
        LocalError: it takes more.
    """
    if needed > left:
        depth = context.parameters.depth
        have = f"none of the {depth} is left" if depth and not left else f"{left} of {depth} {'is' if left == 1 else 'are'} left"
        raise LocalError(
            f"{what} takes {needed} multiplication{'s' * (needed != 1)} one after the other, and {have}",
            hint=f"start with Parameters.for_depth({depth - left + needed}), or decrypt and encrypt again in between",
        )


def check_room(context: EvaluationContext, left: int, bound: float) -> None:
    """Refuses numbers that would wrap around.

    Raises:
        LocalError: `bound` is too large with `left` multiplications left.
    """
    largest = context.largest(left)
    if not bound < largest:
        raise LocalError(
            f"the result may be as large as {bound:.3g}, and with {left} multiplications left numbers must stay below {largest:.3g}",
            hint="encrypt smaller numbers (or state a smaller bound=), or take parameters with a larger first modulus or a smaller scale",
        )


def check_plain(context: EvaluationContext, left: int, bound: float, scale: float | None = None) -> None:
    """Refuses plain numbers that cannot be encoded: SEAL's encoder keeps one bit more free than `check_room`.

    Args:
        context: of the ciphertext that they meet.
        left: how many multiplications that has left.
        bound: no number is larger.
        scale: that they are encoded at, if it is not the canonical one.

    Raises:
        LocalError: `bound` is too large, or no number can be encoded.
    """
    scale = context.scales[left] if scale is None else scale
    bits = math.prod(context.moduli[: left + 1]).bit_length()
    if math.log2(scale) + 1 >= bits:  # as SEAL's encoder has it, whatever the numbers
        raise LocalError(
            f"moduli of {bits} bits, with {left} multiplications left, are too few to encode plain numbers at 2^{math.log2(scale):.0f}",
            hint="take parameters with a larger first modulus or a smaller scale",
        )
    largest = context.largest(left) / 2 * (context.scales[left] / scale)
    if not bound < largest:
        raise LocalError(
            f"plain numbers may be as large as {bound:.3g}, and with {left} multiplications left they must stay below {largest:.3g}",
            hint="scale them down, or take parameters with a larger first modulus or a smaller scale",
        )


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """As numpy's.

    Raises:
        LocalError: the shapes do not broadcast.
    """
    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        named = " and ".join(str(tuple(shape)) for shape in shapes)
        raise LocalError(f"the shapes {named} do not broadcast", hint="from the right, lengths must be equal or 1, as in numpy") from None
