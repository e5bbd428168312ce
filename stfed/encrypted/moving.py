"""Moving elements: into other shapes, out of larger tensors, beside each other. Everything is as numpy has it, and nothing is decrypted.

Where an element lies is public, so what moves is known in clear; only what is in it is not. A move takes at most one multiplication, and
none at all where a tensor keeps its first axis, which only its description changes with, where rows are cut off or rolled to the front, and
where whole ciphertexts move. Moves that need a rotation for each element can take hours: they are priced before (`stfed.encrypted.costs`),
and refused above a limit. Results lie as is cheapest, not always as they would if they were fresh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stfed.encrypted.checks import broadcast_shapes, check_keys
from stfed.encrypted.gathering import Ints, elements, elements_of
from stfed.encrypted.layout import Layout
from stfed.encrypted.spreading import cleared, copied, everywhere, over_columns, over_rows
from stfed.encrypted.ways import Start, Way, relabelled
from stfed.errors import LocalError, shown

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor


def way(tensor: Start, layout: Layout) -> Way:
    """How `place` goes about it, and what it costs."""
    here = tensor.layout
    if layout.slots != here.slots:
        raise LocalError(f"a layout of {layout.slots} slots for ciphertexts of {here.slots}")
    if broadcast_shapes(here.shape, layout.shape) != layout.shape:
        raise LocalError(f"a tensor of shape {here.shape} does not broadcast to {layout.shape}")
    if here == layout:
        return relabelled(tensor, layout)
    if here.size == 1:
        once = tensor if here.uniform else everywhere(tensor, here.shape)
        return copied(once, layout, clean=layout.uniform or bool(elements_of(layout).all()))
    shape = (1,) * (len(layout.shape) - len(here.shape)) + here.shape
    if shape[0] == 1 and layout.rows > 1:
        return over_rows(tensor, layout, shape)
    if math.prod(shape[1:]) == 1 and layout.columns > 1:
        return over_columns(tensor, layout)
    source, slot = (np.broadcast_to(each.reshape(shape), layout.shape).ravel() for each in here.places())
    return elements([tensor], source, slot, layout)


def levels(tensor: EncryptedTensor, layout: Layout) -> int:
    """How many multiplications `place` takes: 0 or 1."""
    return way(tensor, layout).cost.levels


def place(tensor: EncryptedTensor, layout: Layout) -> EncryptedTensor:
    """The same numbers, broadcast to the shape of a layout, in exactly that layout.

    The result is clean only if that comes by itself: numbers that are broadcast spill over into slots that no element has.

    Raises:
        LocalError: the shape does not broadcast; no multiplication left for it, no Galois keys, or too costly.
    """
    if tensor.layout == layout:
        return tensor
    return way(tensor, layout).go(f"moving a tensor of shape {tensor.shape} into {layout.shape}")


def clean(tensor: EncryptedTensor) -> EncryptedTensor:
    """The same tensor with zeros in all slots that no element has: takes a multiplication, unless they are there already."""
    return relabelled(cleared(tensor), tensor.layout).go(f"clearing the unused slots of a tensor of shape {tensor.shape}")


def reshape(tensor: EncryptedTensor, *shape: Any) -> EncryptedTensor:
    """As numpy's, in C order; a -1 stands for what is left. Free while the first axis stays."""
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence | np.ndarray) else shape
    try:
        order = np.arange(tensor.size).reshape(tuple(wanted))
    except (TypeError, ValueError) as error:
        raise LocalError(f"a tensor of shape {tensor.shape} cannot be reshaped to {shown(tuple(wanted))}: {error}") from None
    return arranged([tensor], order).go(f"reshaping {tensor.shape} to {order.shape}")


def transpose(tensor: EncryptedTensor) -> EncryptedTensor:
    """With the axes in reverse order, as numpy's `T`."""
    order = np.arange(tensor.size).reshape(tensor.shape).transpose()
    return tensor if tensor.ndim < 2 else arranged([tensor], order).go(f"transposing a tensor of shape {tensor.shape}")


def take(tensor: EncryptedTensor, index: Any) -> EncryptedTensor:
    """Elements by anything that numpy takes as an index, which is public: `x[3]`, `x[2:5, 0]`, `x[::-1]`, `x[..., None]`, `x[[4, 1]]`.

    Rows that lie side by side are free: `x[2:5]`.

    Raises:
        IndexError: as numpy's.
        LocalError: nothing is left; or as `place`.
    """
    order = np.asarray(np.arange(tensor.size).reshape(tensor.shape)[index])
    if order.size == 0:
        raise LocalError(
            f"this index leaves nothing of a tensor of shape {tensor.shape}", hint="an encrypted tensor has one element or more"
        )
    return arranged([tensor], order).go(f"taking {order.shape} out of {tensor.shape}")


def broadcast_to(tensor: EncryptedTensor, shape: Sequence[int]) -> EncryptedTensor:
    """As numpy's.

    Raises:
        LocalError: as `place`.
    """
    wanted = tuple(shape)
    if tensor.shape == wanted:
        return tensor
    natural = Layout.of(wanted, tensor.layout.slots)
    layouts = [natural, Layout(wanted, natural.slots, max(natural.block, tensor.layout.block))]
    return min((way(tensor, layout) for layout in layouts), key=_price).go(f"broadcasting {tensor.shape} to {wanted}")


def concatenate(tensors: Sequence[EncryptedTensor], axis: int = 0) -> EncryptedTensor:
    """As numpy's. Free where the parts are whole ciphertexts of the result; the level of the result is that of the lowest.

    Raises:
        LocalError: no tensors, of different keys, shapes that do not fit; or as `place`.
    """
    if not tensors:
        raise LocalError("nothing to concatenate")
    tensors = check_keys(*tensors)
    starts = np.cumsum([0, *(tensor.size for tensor in tensors)])
    try:
        parts = [np.arange(tensor.size).reshape(tensor.shape) + start for tensor, start in zip(tensors, starts, strict=False)]
        order = np.concatenate(parts, axis)
    except ValueError as error:
        raise LocalError(f"tensors of shapes {', '.join(str(tensor.shape) for tensor in tensors)}: {error}") from None
    return arranged(tensors, order).go(f"concatenating {len(tensors)} tensors to {order.shape}")


def stack(tensors: Sequence[EncryptedTensor], axis: int = 0) -> EncryptedTensor:
    """As numpy's: tensors of one shape along a new axis."""
    if len({tensor.shape for tensor in tensors}) > 1:
        raise LocalError(
            f"tensors of shapes {', '.join(str(tensor.shape) for tensor in tensors)} cannot be stacked: they must be of one shape"
        )
    if tensors and not -tensors[0].ndim - 1 <= axis <= tensors[0].ndim:
        raise LocalError(f"axis {axis} is none of a stack of tensors of shape {tensors[0].shape}")
    return concatenate([reshape(each, np.expand_dims(np.empty(each.shape), axis).shape) for each in tensors], axis)


def arranged(starts: Sequence[Start], order: Ints) -> Way:
    """The cheapest way to a tensor of the shape of `order`, which says for each element its number among the elements of all starts."""
    slots = starts[0].layout.slots
    natural = Layout.of(order.shape, slots)
    if len(starts) == 1 and starts[0].layout.uniform:
        return copied(starts[0], natural, clean=natural.uniform)
    firsts = np.cumsum([0, *(start.layout.ciphertexts for start in starts)])
    places = [start.layout.places() for start in starts]
    source = np.concatenate([each.ravel() + first for (each, _), first in zip(places, firsts, strict=False)])[order.ravel()]
    uniform = [start.layout.uniform for start in starts]
    slots_of = [np.full(1, -1) if same else each.ravel() for same, (_, each) in zip(uniform, places, strict=True)]
    slot = np.concatenate(slots_of)[order.ravel()]
    blocks = sorted({natural.block, *(start.layout.block for start in starts)})
    layouts = [Layout(order.shape, slots, block) for block in blocks if natural.rows <= block or block == slots]
    return min((elements(starts, source, slot, layout) for layout in layouts), key=_price)


def _price(one: Way) -> tuple[int, float, int]:
    return one.cost.levels, one.cost.seconds, one.layout.ciphertexts
