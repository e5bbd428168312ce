"""Broadcasting by doubling: a number is brought to n slots by log2 n rotations, each of which adds a ciphertext to itself, moved on.

So a column becomes many columns without any multiplication, where the slots between are zero. A row becomes many rows with one: each of its
numbers is brought to where its column begins, which takes masks, and is doubled from there. What a row has in one ciphertext is doubled
before that, as far as it goes, once for all columns: those then need fewer doublings of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.bounds import product_up
from stfed.encrypted.costs import Cost, Prices
from stfed.encrypted.gathering import Groups, Ints, elements, elements_of
from stfed.encrypted.layout import Layout
from stfed.encrypted.linear import Diagonals, Plan
from stfed.encrypted.plain import same_everywhere
from stfed.encrypted.ways import Start, Way, relabelled, so_far


def doublings(first: int, end: int, sign: int = 1) -> tuple[int, ...]:
    """The distances first, 2 first, 4 first ... below `end`, times `sign`: folded over them a slot is the sum of end / first others."""
    return tuple(sign * (first << step) for step in range((end // first).bit_length() - 1))


def folded(start: Start, distances: Sequence[int], *, count: int | None = None, summed: float | None = None) -> Way:
    """Each ciphertext plus itself rotated by the first distance, that plus itself rotated by the next one, and so on.

    What the key switch of one step adds to slots is added up with that of other slots in all later steps. The caller knows the bound: here
    it stays that of the start, which is right where all but one of the slots that are added up are zero.

    Args:
        start: what is folded.
        distances: powers of two, doubling.
        count: of ciphertexts; by default those of the layout.
        summed: how wrong a sum of 2^steps slots of the start can be; by default 2^steps times its error.
    """
    context, left, steps = start.context, start.left, len(distances)
    if not distances:
        return relabelled(start, start.layout, clean=False)
    count = start.layout.ciphertexts if count is None else count
    level = max(left, 0)
    error = start.error * 2.0**steps if summed is None else summed
    error += sum(context.noise.switching(level, context.scales[level], 1 << later) for later in range(steps))
    cost = so_far(start) + Cost(0, count * steps, 0, count * steps * Prices(context, left).rotation_s)

    def run() -> list[Ciphertext]:
        return context.each("folded", [(each, tuple(distances)) for each in start.ciphertexts])

    return Way(context, start.layout, left, start.bound, error, False, cost, run)


def cleared(start: Start, factor: float = 1.0) -> Start:
    """The same with zeros in all slots that no element has, times a factor if it has to be multiplied for that."""
    if start.clean:
        return start
    source, slot = (each.ravel() for each in start.layout.places())
    return elements([start], source, slot, start.layout, factor=factor, clean=True)


def everywhere(start: Start, shape: tuple[int, ...], factor: float = 1.0) -> Way:
    """The sum of all elements, in every slot of one ciphertext; times a factor if it has to be multiplied, because it is not clean."""
    context, here, left = start.context, start.layout, start.left
    count, slots, bound = here.ciphertexts, here.slots, product_up(start.bound, here.size)
    cost, sums = so_far(start), np.zeros(count, np.int64)
    if start.clean:
        error = start.error * count
        run = lambda: context.each("total", [(start.ciphertexts,)])  # noqa: E731
        one = Way(context, here, left, bound, error, True, cost, run if count > 1 else lambda: start.ciphertexts)
        result = folded(one, doublings(1, slots), count=1)
    else:
        masks = elements_of(here)
        plan = Plan(context, left, Diagonals(1, sums, np.arange(count), sums, lambda at: same_everywhere(masks[at] * factor)))
        error = plan.error(start.bound, start.error, here.size * abs(factor), abs(factor), slots)
        bound = product_up(bound, abs(factor))
        one = Way(context, here, left - 1, bound, error, True, cost + plan.cost, lambda: plan.run(start.ciphertexts))
        result = folded(one, doublings(1, slots), count=1, summed=error)
    return relabelled(result, Layout(shape, slots, 1, uniform=True), clean=True)


def over_columns(start: Start, layout: Layout) -> Way:
    """One column, of the same rows, in all columns of a layout: its places are the same in both, whatever the blocks."""
    needed = 1 << (min(layout.together, layout.columns) - 1).bit_length()
    column = folded(cleared(start), doublings(layout.block, layout.block * needed, -1))
    return copied(column, layout, clean=layout.columns % needed == 0)


def copied(start: Start, layout: Layout, *, clean: bool) -> Way:
    """The same few ciphertexts again and again, as all of those of a layout."""
    times = layout.ciphertexts // start.layout.chunks
    cost = so_far(start)
    return Way(start.context, layout, start.left, start.bound, start.error, clean, cost, lambda: [*start.ciphertexts] * times)


def over_rows(start: Start, layout: Layout, shape: tuple[int, ...]) -> Way:
    """One row in all rows of a layout; `shape` is that of the start with as many axes as the layout, the first of length 1."""
    order = np.broadcast_to(np.arange(start.layout.size).reshape(shape), (1, *layout.shape[1:])).ravel()
    source, slot = (each.ravel()[order] for each in start.layout.places())
    return in_columns(start, source, slot, layout)


def in_columns(start: Start, source: Ints, slot: Ints, layout: Layout, columns: Ints | None = None) -> Way:
    """For each column of a layout, or for some of them, one slot of the start, in all rows of the column.

    Args:
        start: where they are.
        source: the number of the ciphertext: int64 (columns,).
        slot: the slot there, likewise.
        layout: of the result.
        columns: their numbers, likewise; by default all. The others are zero; each ciphertext has one at least.
    """
    context, groups = start.context, layout.ciphertexts // layout.chunks
    fill = min(layout.block, 1 << (layout.rows - 1).bit_length())
    period = min(fill, 1 << int(slot.max()).bit_length()) if start.clean else fill
    periodic = folded(start, doublings(period, fill, -1))
    copies = np.arange(0, fill, period)
    group, place = np.divmod(np.arange(layout.columns) if columns is None else columns, layout.together)
    marks = Groups(
        layout.slots,
        groups,
        np.repeat(source, len(copies)),
        (slot[:, None] + copies).ravel() % layout.slots,
        np.repeat(group, len(copies)),
        (place[:, None] * layout.block + copies).ravel(),
    )
    plan = Plan(context, start.left, marks.diagonals())
    error = plan.error(start.bound, periodic.error, 1.0, 1.0, period)  # of `period` slots only one is not masked
    marked = Way(
        context, layout, start.left - 1, start.bound, error, True, periodic.cost + plan.cost, lambda: plan.run(periodic.ciphertexts)
    )
    filled = folded(marked, doublings(1, period, -1), count=groups, summed=error)

    def run() -> list[Ciphertext]:
        return [each for each in filled.ciphertexts for _ in range(layout.chunks)]

    clean = layout.rows % fill == 0
    return Way(context, layout, filled.left, start.bound, filled.error, clean, filled.cost, run)
