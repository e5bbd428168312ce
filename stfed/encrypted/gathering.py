"""Elements from anywhere to anywhere: for each slot of a result the slots that its number comes from.

It takes a rotation for every distance and a 0/1 mask for every group of elements that move together, and one multiplication, for the masks.
None where masks are not needed, because whatever else is in the ciphertexts meets zeros only, or ends up in slots that no element has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.arithmetic import Ciphertext, Plain
from stfed.encrypted.bounds import product_up
from stfed.encrypted.layout import Layout
from stfed.encrypted.linear import Diagonals, Plan
from stfed.encrypted.plain import same_everywhere
from stfed.encrypted.ways import Start, Way, lowered, so_far

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def occupied(start: Start) -> Bools:
    """Slots that can have something other than zero: bool (ciphertexts, slots)."""
    if start.layout.uniform or not start.clean:
        return np.ones((start.layout.ciphertexts, start.layout.slots), bool)
    return elements_of(start.layout)


def elements_of(layout: Layout) -> Bools:
    """Slots that have an element: bool (ciphertexts, slots)."""
    return np.asarray(layout.spread(np.ones(())) != 0)


@dataclass(frozen=True)
class Groups:
    """Where elements come from and where they go: those with the same ciphertexts and the same distance move together.

    Args:
        slots: of a ciphertext.
        targets: how many ciphertexts they go to.
        source: the number of the ciphertext that each comes from: int64 (elements,), likewise the others.
        from_slot: the slot there.
        target: the number of the ciphertext that it goes to.
        to_slot: the slot there.
        factor: what they are multiplied with.
    """

    slots: int
    targets: int
    source: Ints
    from_slot: Ints
    target: Ints
    to_slot: Ints
    factor: float = 1.0

    def diagonals(self) -> Diagonals:
        """As a linear map."""
        many = int(self.source.max()) + 1
        key = (self.target * many + self.source) * self.slots + (self.from_slot - self.to_slot) % self.slots
        order = np.argsort(key, kind="stable")
        keys, starts = np.unique(key[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        to_slot, slots, factor = self.to_slot[order], self.slots, self.factor

        def weights(at: int) -> Plain:
            mask = np.zeros(slots)
            mask[to_slot[starts[at] : ends[at]]] = factor
            return same_everywhere(mask)

        pair, offset = np.divmod(keys, self.slots)
        target, source = np.divmod(pair, many)
        return Diagonals(self.targets, target, source, offset, weights)


def elements(
    starts: Sequence[Start],
    source: Ints,
    from_slot: Ints,
    layout: Layout,
    *,
    to: Ints | None = None,
    factor: float = 1.0,
    clean: bool = False,
) -> Way:
    """Each element from anywhere, or a sum of several.

    Args:
        starts: of the same keys; their ciphertexts are numbered through.
        source: of each term the number of the ciphertext that it comes from: int64 (terms,).
        from_slot: and the slot there; -1 for the slot that it goes to, where the ciphertext has it in all of them.
        layout: of the result; not uniform.
        to: the number, in C order, of the element that the term is added to; by default each element has one.
        factor: times this.
        clean: whether the result must be clean, even if that takes a multiplication.
    """
    target, to_slot = (places.ravel() if to is None else places.ravel()[to] for places in layout.places())
    from_slot = np.where(from_slot < 0, to_slot, from_slot)
    map_ = Groups(layout.slots, layout.ciphertexts, source, from_slot, target, to_slot, factor).diagonals()
    wanted = np.zeros((layout.ciphertexts, layout.slots), np.int64)
    np.add.at(wanted, (target, to_slot), 1)
    most = int(wanted.max())
    junk = _junk(map_, np.concatenate([occupied(start) for start in starts]), wanted, most) if factor == 1 else None
    free = junk is not None and not (junk and clean)
    context, left = starts[0].context, min(start.left for start in starts)
    plan = Plan(context, left, map_, weighted=not free)
    level = [lowered(start, left) if free else start for start in starts]
    bound = max(start.bound for start in starts)
    error = plan.error(bound, max(start.error for start in level), most * abs(factor), abs(factor))
    cost = sum(map(so_far, level), start=plan.cost)

    def run() -> list[Ciphertext]:
        return plan.run([each for start in level for each in start.ciphertexts])

    return Way(context, layout, left - plan.cost.levels, product_up(bound, most, abs(factor)), error, not free or not junk, cost, run)


def _junk(map_: Diagonals, filled: Bools, wanted: Ints, most: int) -> bool | None:
    """Whether, without masks, something lies in slots that no element has. None: if it cannot be without masks.

    What falls into a slot that has an element must be its terms and nothing else, and nowhere may be more terms than an element can have,
    or the bound would not hold there.
    """
    sums = np.zeros_like(wanted)
    for target, source, offset in zip(map_.target.tolist(), map_.source.tolist(), map_.offset.tolist(), strict=True):
        row, filling = sums[target], filled[source]
        row += np.concatenate((filling[offset:], filling[:offset]))
        if row.max() > most:
            return None
    needed = wanted > 0
    return bool(sums[~needed].any()) if (sums == wanted)[needed].all() else None
