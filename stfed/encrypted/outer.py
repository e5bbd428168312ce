"""Products of two encrypted matrices, (n, k) and (k, m): the sum of k outer products.

Column j of the first is brought into m columns, row j of the second into n rows, and the two multiplied slot by slot; all products that end
in one ciphertext are added up before that is relinearised and divided once. As many j as fit share a ciphertext. That takes two
multiplications, one of them for the masks with which rows become columns, and time that grows with k m: it is for small matrices, and is
refused above the limit of `stfed.encrypted.costs`.

Two exceptions take one multiplication: vectors, whose products are summed up, and a vector times a matrix, which it fits to as it lies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.bounds import division_error, product_error, product_up
from stfed.encrypted.costs import Cost, Prices
from stfed.encrypted.gathering import elements
from stfed.encrypted.layout import Layout
from stfed.encrypted.moving import arranged
from stfed.encrypted.moving import way as moved
from stfed.encrypted.reductions import reduced
from stfed.encrypted.spreading import doublings, folded, in_columns
from stfed.encrypted.ways import Start, Way, lowered, relabelled, so_far


def outer(a: Start, b: Start) -> Way:
    """Of (n, k) or (k,) with (k, m) or (k,)."""
    first = min(a.left, b.left)
    shape = (*a.layout.shape[:-1], *b.layout.shape[1:])
    if a.layout.uniform and b.layout.uniform:
        return replace(_added_up(a, b, replace(a.layout, shape=shape), [[(0, 0)]]), clean=True)
    one, other = (_in_columns(each) for each in (a, b))
    if a.layout.uniform and len(a.layout.shape) == 1:  # one number, in every slot already: nothing has to be brought beside the other
        result = replace(_added_up(a, b, b.layout, [[(0, at)] for at in range(b.layout.ciphertexts)]), clean=b.clean)
    else:
        result = _vector(one, other) if len(a.layout.shape) == 1 else _matrices(one, other)
    if result.layout.shape != shape and len(a.layout.shape) == 2:  # (n, 1) to (n,): the same places
        result = relabelled(result, replace(result.layout, shape=shape))
    elif result.layout.shape != shape:
        result = arranged([result], np.arange(result.layout.size).reshape(shape))
    return replace(result, cost=replace(result.cost, levels=first - result.left))


def _in_columns(start: Start) -> Start:
    """The same tensor; a uniform one read as a single column of a single row, with something in all other slots."""
    here = start.layout
    return relabelled(start, Layout(here.shape, here.slots, 1), clean=False) if here.uniform else start


def _vector(a: Start, b: Start) -> Way:
    """(k,) with (k, m) or (k,), the vector as a column beside each of the others."""
    shape, slots = b.layout.shape, b.layout.slots
    two = shape if len(shape) == 2 else (*shape, 1)
    layout = Layout(two, slots, b.layout.block)
    column = relabelled(a, Layout((a.layout.rows, 1), slots, layout.block))  # a single column has the same places, whatever the block
    one, other = moved(column, layout), relabelled(b, layout)
    product = _added_up(one, other, layout, [[(at, at)] for at in range(layout.ciphertexts)])
    # Spread over several columns the vector has zeros below its last row, and so has the product: as clean as a sum of rows needs it.
    zeros = layout.rows > 1 and layout.columns > 1
    return reduced(replace(product, clean=one.clean or other.clean or zeros), (0,), keepdims=two != (1, 1) and shape[1:] != ())


def least(a: Start, b: Start) -> Cost:
    """What `outer` takes for two matrices at least: known at once, where planning a product that is far too large takes seconds itself."""
    if len(a.layout.shape) < 2 or len(b.layout.shape) < 2:
        return Cost()
    count = min(_products(_Blocks.of(a.layout, b.layout.columns, block)) for block in _blocks(a.layout, b.layout))
    return Cost(products=count, seconds=count * Prices(a.context, max(1, min(a.left, b.left) - 1)).product_s, floor=True)


def _products(blocks: _Blocks) -> int:
    return blocks.layout.ciphertexts * blocks.groups


def _blocks(a: Layout, b: Layout) -> set[int]:
    return {a.block, max(a.block, min(a.slots, b.block))}


def _matrices(a: Start, b: Start) -> Way:
    blocks = sorted(_blocks(a.layout, b.layout))
    return min((_in_blocks(a, b, block) for block in blocks), key=lambda way: (way.cost.levels, way.cost.seconds))


class _Blocks(NamedTuple):
    """A product in columns of `block` slots.

    Column j of the first is the first of `copies` side by side, and row j of the second is spread over the columns beginning there: over
    as many if all results have room beside each other in one ciphertext, and otherwise over those of several ciphertexts.

    Attributes:
        layout: of the first.
        together: columns of a ciphertext.
        copies: of each column of the first, side by side.
        groups: ciphertexts that results take.
    """

    layout: Layout
    together: int
    copies: int
    groups: int

    @classmethod
    def of(cls, a: Layout, outputs: int, block: int) -> Self:
        """For a first matrix of layout `a`, and a second one of so many columns."""
        (rows, inner), together = a.shape, a.slots // block
        copies = min(together, 1 << (outputs - 1).bit_length())
        return cls(Layout((rows, inner * copies), a.slots, block), together, copies, -(-outputs // together))


def _in_blocks(a: Start, b: Start, block: int) -> Way:
    (rows, inner), slots, outputs = a.layout.shape, a.layout.slots, b.layout.columns
    layout, together, copies, groups = _Blocks.of(a.layout, outputs, block)
    wide = copies if groups == 1 else groups * together

    source, slot = (each.ravel() for each in a.layout.places())
    row, number = (each.ravel() for each in np.indices((rows, inner)))
    spread = elements([a], source, slot, layout, to=row * layout.columns + number * copies, clean=copies > 1)
    left = folded(spread, doublings(block, block * copies, -1)) if copies > 1 else spread

    source, slot = (each.ravel() for each in b.layout.places())
    number, column = (each.ravel() for each in np.indices((inner, outputs)))
    right = in_columns(b, source, slot, Layout((rows, inner * wide), slots, block), number * wide + column)

    chunks, sums = layout.chunks, layout.ciphertexts // layout.chunks
    pairs = [
        [(at * chunks + chunk, (at * groups + group) * chunks + chunk) for at in range(sums)]
        for group in range(groups)
        for chunk in range(chunks)
    ]
    segments = min(together // copies, 1 << (inner - 1).bit_length())
    result = Layout((rows, outputs), slots, block)
    product = _added_up(left, right, result, pairs)
    summed = folded(product, doublings(copies * block, copies * block * segments)) if segments > 1 else product
    bound = product_up(a.bound, b.bound, inner)
    return replace(summed, bound=bound, clean=spread.clean and copies == together)


def _added_up(a: Start, b: Start, layout: Layout, pairs: list[list[tuple[int, int]]]) -> Way:
    """For each ciphertext of the result the sum of products of pairs."""
    context, left = a.context, min(a.left, b.left)
    one, other = lowered(a, left), lowered(b, left)
    terms, after = max(map(len, pairs)), max(left - 1, 0)
    error = terms * product_error(one, other) + division_error(context, after, relinearised=True)
    prices, count = Prices(context, left), sum(map(len, pairs))
    seconds = count * prices.product_s + len(pairs) * (prices.rotation_s + prices.division_s)
    held = (a.layout.ciphertexts + b.layout.ciphertexts) * prices.size_bytes
    cost = so_far(one) + so_far(other) + Cost(1, 0, count, seconds, held)

    def run() -> list[Ciphertext]:
        lefts, rights = one.ciphertexts, other.ciphertexts
        return context.each("products", [([(lefts[at], rights[by]) for at, by in each],) for each in pairs])

    return Way(context, layout, left - 1, product_up(a.bound, b.bound, terms), error, False, cost, run)
