"""Products of an encrypted matrix with a plain one.

*From the right*: sums of multiples of columns, without any rotation where a column fills its ciphertext. Where several columns share one,
the diagonals are those of the small matrix that mixes them (Halevi, Shoup, *Algorithms in HElib*, CRYPTO 2014, section 4.3), and with few
results only as many of them as there are results, whose sums are folded (Juvekar, Vaikuntanathan, Chandrakasan, *GAZELLE*, USENIX Security
2018, the hybrid method). *From the left*: the same along the slots of each column, all columns at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.bounds import product_up
from stfed.encrypted.layout import Layout
from stfed.encrypted.linear import Diagonals, Plan
from stfed.encrypted.moving import arranged
from stfed.encrypted.moving import way as moved
from stfed.encrypted.plain import same_everywhere
from stfed.encrypted.spreading import doublings, folded
from stfed.encrypted.ways import Start, Way, relabelled, so_far

Floats = NDArray[np.float64]


def from_right(start: Start, weights: Floats) -> Way:
    """Encrypted (r, k) times plain (k, c), or (k,)."""
    here = start.layout
    if here.uniform:
        return _of_number(start, weights, (here.rows, *weights.shape[1:]))
    matrix = weights.reshape(here.columns, -1)
    layout = Layout((here.rows, *weights.shape[1:]), here.slots, here.block)
    if here.together == 1:
        return _whole_columns(start, matrix, layout)
    outputs, together, sources = matrix.shape[1], here.together, here.ciphertexts
    turns = min(together, _power(outputs))
    groups = -(-outputs // turns)
    # Block p of a target has result p mod `turns`; diagonal d brings column p + d of a source to it, round and round.
    padded = np.zeros((sources * together, groups * turns))
    padded[: here.columns, :outputs] = matrix
    place, rows = np.arange(together), here.block if start.clean else here.rows

    def by_block(target: int, source: int, turn: int) -> Floats:
        return padded[source * together + (place + turn) % together, target * turns + place % turns]

    every = [(target, source, turn) for target in range(groups) for source in range(sources) for turn in range(turns)]
    keys = [key for key in every if key[1:] == (0, 0) or by_block(*key).any()]  # each target has one, even if it is zero

    def laid_out(at: int) -> Floats | float:
        blocks = np.zeros((together, here.block))
        blocks[:, :rows] = by_block(*keys[at])[:, None]
        return same_everywhere(blocks.reshape(-1))

    target, source, turn = np.array(keys, np.int64).T
    map_ = Diagonals(groups, target, source, turn * here.block, laid_out)
    return _mapped(start, map_, layout, matrix, doublings(turns * here.block, here.slots))


def _of_number(start: Start, weights: Floats, shape: tuple[int, ...]) -> Way:
    """Where the encrypted operand is a single number, in every slot."""
    layout = Layout.of(shape, start.layout.slots)
    rows = layout.spread(weights.reshape(shape))
    zeros = np.zeros(len(rows), np.int64)
    map_ = Diagonals(len(rows), np.arange(len(rows)), zeros, zeros, lambda at: same_everywhere(rows[at]))
    return _mapped(start, map_, layout, weights.reshape(1, -1), ())


def _whole_columns(start: Start, matrix: Floats, layout: Layout) -> Way:
    """Where each ciphertext has one column, or a chunk of one."""
    chunks = layout.chunks
    used = matrix != 0
    used[0] |= ~used.any(axis=0)
    column, row = (each.repeat(chunks) for each in np.nonzero(used.T))
    chunk = np.tile(np.arange(chunks), len(row) // chunks)
    zeros = np.zeros_like(row)
    map_ = Diagonals(
        layout.ciphertexts,
        column * chunks + chunk,
        row * chunks + chunk,
        zeros,
        lambda at: float(matrix[row[at], column[at]]),
        constant=True,
    )
    return replace(_mapped(start, map_, layout, matrix, ()), clean=start.clean)


def from_left(weights: Floats, start: Start) -> Way:
    """Plain (m, r), or (r,), times encrypted (r, c), or (r,)."""
    here, slots = start.layout, start.layout.slots
    matrix = np.atleast_2d(weights)
    shape = (*weights.shape[:-1], *here.shape[1:])
    if here.uniform:
        return _of_number(start, weights, shape)
    if len(matrix) * here.columns == 1:
        map_ = _along_slots(matrix, start, 1, zeros=True)
        summed = _mapped(start, map_, here, matrix.T, doublings(1, slots))
        return relabelled(summed, Layout(shape, slots, 1, uniform=True), clean=True)
    block = max(here.block, Layout.of((len(matrix), 1), slots).block)
    if block > here.block:
        start = moved(start, Layout(here.shape, slots, block))
    turns = min(block, _power(len(matrix)))
    map_ = _along_slots(matrix, start, turns, zeros=not start.clean)
    layout = Layout((len(matrix), *here.shape[1:]), slots, block)
    result = _mapped(start, map_, layout, matrix.T, doublings(turns, block))
    return result if shape == layout.shape else arranged([result], np.arange(layout.size).reshape(shape))


def _along_slots(matrix: Floats, start: Start, turns: int, *, zeros: bool) -> Diagonals:
    """Slot u of a block has result u mod `turns`; diagonal d brings it row u + d, as long as that is among the same `turns` rows.

    With `zeros` the weights are zero in blocks without a column.
    """
    here = start.layout
    block, together, chunks = here.block, here.together, here.chunks
    parts, groups = -(-len(matrix) // block), here.ciphertexts // chunks
    padded = np.zeros((parts * block, chunks * block))
    padded[: len(matrix), : here.rows] = matrix
    slot = np.arange(block)

    def along(part: int, chunk: int, turn: int) -> Floats:
        inside = (slot % turns + turn >= 0) & (slot % turns + turn < turns)
        taken = padded[part * block + slot % turns, chunk * block + np.where(inside, slot + turn, 0)]
        return np.where(inside, taken, 0.0)

    every = [(part, chunk, turn) for part in range(parts) for chunk in range(chunks) for turn in range(1 - turns, turns)]
    used = [key for key in every if key[1:] == (0, 0) or along(*key).any()]
    keys = [(group, *key) for group in range(groups) for key in used]

    def laid_out(at: int) -> Floats | float:
        blocks = np.zeros((together, block))
        columns = min(together, here.columns - keys[at][0] * together) if zeros else together
        blocks[:columns] = along(*keys[at][1:])
        return same_everywhere(blocks.reshape(-1))

    group, part, chunk, turn = np.array(keys, np.int64).T
    return Diagonals(groups * parts, group * parts + part, group * chunks + chunk, turn % here.slots, laid_out)


def _power(count: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << (count - 1).bit_length()


def _mapped(start: Start, map_: Diagonals, layout: Layout, matrix: Floats, distances: Sequence[int]) -> Way:
    """A linear map of slots, and its result folded; no slot of that gets more weights than a column of the matrix has."""
    context, plan = start.context, Plan(start.context, start.left, map_)
    gain = math.nextafter(max(math.fsum(column) for column in np.abs(matrix).T.tolist()), math.inf)
    error = plan.error(start.bound, start.error, gain, float(np.abs(matrix).max()), 1 << len(distances))
    bound, cost = product_up(start.bound, gain), so_far(start) + plan.cost
    mixed = Way(context, layout, start.left - 1, bound, error, True, cost, lambda: plan.run(start.ciphertexts))
    return folded(mixed, distances, count=map_.targets, summed=error) if distances else mixed
