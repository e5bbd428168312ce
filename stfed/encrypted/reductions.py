"""Sums and means over axes, as numpy's.

Over later axes a sum is one of columns, and over the first one it is a sum within columns: in log2 n rotations, each of which adds a
ciphertext to itself, moved on. Over all axes the sum stands in every slot at the end, so that it fits to any tensor afterwards.

Slots that no element has must be zero for that. Where they are not (a tensor that is not `clean`) one product with a mask sees to it, and
takes a multiplication. The division of a mean takes one as well. And so does a sum over the first axis whose result has lost that axis:
what was the second one has to move along the slots. `keepdims=True` saves it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stfed.encrypted.bounds import division_error, factor_error, product_up
from stfed.encrypted.costs import Cost, Prices
from stfed.encrypted.gathering import Ints, elements
from stfed.encrypted.layout import Layout
from stfed.encrypted.moving import arranged
from stfed.encrypted.spreading import cleared, doublings, everywhere, folded
from stfed.encrypted.ways import Start, Way, so_far
from stfed.errors import LocalError, shown

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor

Axes: TypeAlias = int | Sequence[int] | None


def total(tensor: EncryptedTensor, axis: Axes = None, *, keepdims: bool = False) -> EncryptedTensor:
    """As `numpy.sum`; `axis` may be a tuple of axes.

    Raises:
        LocalError: no such axis, not enough multiplications left, no Galois keys, numbers that would not fit, or too costly.
    """
    axes = _axes(tensor, axis)
    return reduced(tensor, axes, keepdims=keepdims).go(f"a sum over axes {axes} of a tensor of shape {tensor.shape}")


def mean(tensor: EncryptedTensor, axis: Axes = None, *, keepdims: bool = False) -> EncryptedTensor:
    """As `numpy.mean`; `axis` may be a tuple of axes.

    Raises:
        LocalError: as `total`.
    """
    axes = _axes(tensor, axis)
    factor = 1 / math.prod(tensor.shape[axis] for axis in axes)
    return reduced(tensor, axes, keepdims=keepdims, factor=factor).go(f"a mean over axes {axes} of a tensor of shape {tensor.shape}")


def _axes(tensor: EncryptedTensor, axis: Axes) -> tuple[int, ...]:
    named = tuple(range(tensor.ndim)) if axis is None else tuple(axis) if isinstance(axis, Sequence) else (axis,)
    axes = set[int]()
    for each in named:
        if not isinstance(each, int | np.integer) or not -tensor.ndim <= each < tensor.ndim:
            raise LocalError(f"a tensor of shape {tensor.shape} has no axis {shown(each)}")
        axes.add(int(each) % tensor.ndim)
    if len(axes) < len(named):
        raise LocalError(f"an axis twice among {named}")
    return tuple(sorted(axes))


def reduced(start: Start, axes: tuple[int, ...], *, keepdims: bool = False, factor: float = 1.0) -> Way:
    """The way to the sum over some axes, times a factor."""
    here = start.layout
    kept = tuple(1 if axis in axes else length for axis, length in enumerate(here.shape))
    shape = kept if keepdims else tuple(length for axis, length in enumerate(here.shape) if axis not in axes)
    if kept == here.shape:
        return arranged([start], np.arange(here.size).reshape(shape))
    if math.prod(shape) == 1:
        result = everywhere(start, shape, factor)
        return scaled(result, factor) if start.clean else result
    if kept[:1] == here.shape[:1]:
        return _of_columns(start, shape, kept, factor)
    between = (here.rows, *kept[1:])
    if between != here.shape:
        ready: Start = _of_columns(start, between, between, 1.0, zeros=True)
    else:
        ready, factor = (start, factor) if start.clean else (cleared(start, factor), 1.0)
    summed, filled = _of_rows(ready)
    if keepdims:
        return scaled(summed, factor)
    source, slot = (each.ravel() for each in summed.layout.places())
    return elements([summed], source, np.full_like(slot, -1) if filled else slot, Layout.of(shape, here.slots), factor=factor)


def _of_columns(start: Start, shape: tuple[int, ...], kept: tuple[int, ...], factor: float, *, zeros: bool = False) -> Way:
    """Over later axes; `kept` is `shape` with axes of length 1 where they were. With `zeros` below the last row of each column."""
    here = start.layout
    order = np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), here.shape).ravel()
    layout = Layout(shape, here.slots, here.block)
    if layout.columns == 1 and here.together > 1:
        ready, factor = (start, factor) if start.clean else (cleared(start, factor), 1.0)
        each = _added(ready, np.arange(here.ciphertexts) % here.chunks, layout)
        needed = 1 << (min(here.together, here.columns) - 1).bit_length()
        summed = folded(each, doublings(here.block, here.block * needed))
        return scaled(replace(summed, bound=product_up(ready.bound, here.columns)), factor)
    source, slot = (each.ravel() for each in here.places())
    summed = elements([start], source, slot, layout, to=order, clean=zeros and not start.clean)
    if factor == 1 or summed.left == start.left:
        return scaled(summed, factor)
    return elements([start], source, slot, layout, to=order, factor=factor)  # the masks that it takes anyway do it


def _of_rows(start: Start) -> tuple[Way, bool]:
    """Over the first axis, which stays with length 1; and whether each sum stands in every slot of its ciphertext.

    The sum of a column stands in its first slot. Those below have some rows of this column and some of the next, no more in all than one
    column has.
    """
    here = start.layout
    layout = Layout((1, *here.shape[1:]), here.slots, here.block)
    fill = min(here.block, 1 << (here.rows - 1).bit_length())
    added = _added(start, np.arange(here.ciphertexts) // here.chunks, layout)
    summed = replace(folded(added, doublings(1, fill)), bound=product_up(start.bound, here.rows))
    return summed, fill == here.slots


def _added(start: Start, target: Ints, layout: Layout) -> Way:
    """Sums of whole ciphertexts: `target` says for each where to, all of them equally many."""
    context = start.context
    terms = int((target == 0).sum())

    def run() -> list[object]:
        jobs = [([start.ciphertexts[at] for at in np.flatnonzero(target == each).tolist()],) for each in range(int(target.max()) + 1)]
        return context.each("total", jobs)

    bound, error = product_up(start.bound, terms), start.error * terms
    return Way(context, layout, start.left, bound, error, start.clean, so_far(start), run if terms > 1 else lambda: start.ciphertexts)


def scaled(start: Way, factor: float) -> Way:
    """All slots times one number; takes a multiplication, unless it is 1."""
    if factor == 1:
        return start
    context, left = start.context, start.left - 1
    floor = max(left, 0)
    error = factor_error(start, floor, abs(factor), constant=True) + division_error(context, floor, relinearised=False)
    count, prices = start.layout.ciphertexts, Prices(context, start.left)
    cost = start.cost + Cost(1, 0, count, count * (prices.constant_s + prices.division_s))

    def run() -> list[object]:
        return context.each("combine", [([(each, factor)], left) for each in start.ciphertexts])

    return Way(context, start.layout, left, product_up(start.bound, abs(factor)), error, start.clean, cost, run)
