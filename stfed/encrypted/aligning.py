"""Two encrypted tensors are computed with if their elements are in the same slots and of the same level: here they are brought there.

What is cheapest stays where it is: the operand of the shape of the result, and of two the one that would cost multiplications to move.
A level is left by a product with 1, or with 1 and 0 where a single number would get into slots that have no element.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted import moving
from stfed.encrypted.arithmetic import Plain
from stfed.encrypted.bounds import division_error, dropped_error, factor_error
from stfed.encrypted.checks import broadcast_shapes, check_keys, check_left, check_room
from stfed.encrypted.layout import Layout
from stfed.encrypted.plain import same_everywhere

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor


def aligned(a: EncryptedTensor, b: EncryptedTensor, needed: int, what: str, reach: float) -> tuple[EncryptedTensor, EncryptedTensor]:
    """Both in one layout and of one level, which has `needed` multiplications left.

    Args:
        a: an operand.
        b: the other one.
        needed: multiplications that the operation takes itself.
        what: the operation, for errors.
        reach: how large the result can get, error included.
    """
    a, b = check_keys(a, b)
    context, layout = a.context, common_layout(a, b)
    moves = [moving.levels(tensor, layout) for tensor in (a, b)]
    for tensor, levels in zip((a, b), moves, strict=True):
        check_left(context, tensor.left, levels + needed, what)
    left = min(a.left - moves[0], b.left - moves[1])
    check_room(context, left - needed, reach)
    check_room(context, left, max(a.bound + a.error, b.bound + b.error))
    # A single number goes into all slots, also into those without an element, unless the product that brings it down a level masks them.
    # In a product it does no harm there: what it meets is zero.
    masked = needed == 0 and not full(layout)
    return _settled(a, layout, left, masked=masked), _settled(b, layout, left, masked=masked)


def common_layout(a: EncryptedTensor, b: EncryptedTensor) -> Layout:
    """The layout to compute in: that of an operand that has the shape of the result, if one does and leaves the most multiplications."""
    shape = broadcast_shapes(a.shape, b.shape)
    own = {each.layout for each in (a, b) if each.shape == shape and not each.layout.uniform}
    if len(own) < 2:
        return own.pop() if own else Layout.of(shape, a.layout.slots)
    return max(own, key=lambda layout: min(each.left - moving.levels(each, layout) for each in (a, b)))


def _settled(tensor: EncryptedTensor, layout: Layout, left: int, *, masked: bool) -> EncryptedTensor:
    """In this layout and with so many multiplications left."""
    if not tensor.layout.uniform:
        return dropped(moving.place(tensor, layout), left)
    if not masked or tensor.left == left:
        return moving.place(dropped(tensor, left), layout)
    rows = rows_of(layout, np.ones(layout.shape))
    masks = {np.asarray(row).tobytes(): row for row in rows}  # a few, however many ciphertexts there are
    made = tensor.context.each("drop", [(tensor.ciphertexts[0], left, mask) for mask in masks.values()])
    found = dict(zip(masks, made, strict=True))
    return replace(
        tensor,
        layout=layout,
        ciphertexts=tuple(found[np.asarray(row).tobytes()] for row in rows),
        error=factor_error(tensor, left, 1.0, constant=False) + division_error(tensor.context, left, relinearised=False),
        clean=True,
    )


def dropped(tensor: EncryptedTensor, left: int) -> EncryptedTensor:
    """The same numbers with `left` multiplications left, which must not be more than there are."""
    if tensor.left == left:
        return tensor
    ciphertexts = tensor.context.each("drop", [(each, left) for each in tensor.ciphertexts])
    return replace(tensor, ciphertexts=tuple(ciphertexts), error=dropped_error(tensor, left))


def full(layout: Layout) -> bool:
    """Whether every slot has an element, or is as if it had."""
    return layout.uniform or layout.size == layout.ciphertexts * layout.slots


def rows_of(layout: Layout, values: NDArray[np.float64]) -> list[Plain]:
    """What belongs into the slots of each ciphertext, zero into those without an element."""
    return [float(values.flat[0])] if layout.uniform else [same_everywhere(row) for row in layout.spread(values)]
