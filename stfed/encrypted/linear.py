"""Linear maps of slots: every slot of a target ciphertext is a sum of slots of source ciphertexts times plain weights.

All terms with the same target, source and distance between the slots are one *diagonal*: the source rotated by that distance, times the
weights (Halevi, Shoup, *Algorithms in HElib*, CRYPTO 2014, section 4.3). All diagonals of a target are added up before they are divided
once, so a map takes one multiplication, whatever it is.

Rotations are most of the time, and three things save them:
- A distance is a sum of signed powers of two, each of which is a rotation; distances that begin with the same ones share those.
- *Baby steps and giant steps*: a rotation by b + g can be made in two parts, b of the sources before the products, and g of the sum of all
  products that have g in common. Rotations after the products are cheaper as well, with one modulus less. Which split of the distances is
  the fastest is found by trying all of them: it depends on how many sources and targets there are.
- Both are planned before anything is computed, which is also how the cost is known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.arithmetic import Ciphertext, Plain
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.costs import Cost, Prices

_WEIGHTS_AT_ONCE = 1024
"""Vectors of weights in memory: 32 MiB of them at N = 8192."""


@dataclass(frozen=True)
class Diagonals:
    """A linear map.

    Attributes:
        targets: how many target ciphertexts there are; each has a diagonal at least.
        target: of each diagonal: int64 (diagonals,), likewise the next two.
        source: the number of its source ciphertext.
        offset: slot i of the target takes slot i + offset of the source, round and round; 0 <= offset < slots.
        weights: by the number of a diagonal its weights, by target slot.
        constant: whether all weights of each diagonal are one number, which is much faster.
    """

    targets: int
    target: NDArray[np.int64]
    source: NDArray[np.int64]
    offset: NDArray[np.int64]
    weights: Callable[[int], Plain]
    constant: bool = False


@cache
def steps(offset: int) -> tuple[int, ...]:
    """Signed powers of two, largest first, no two of them next to each other, that add up to it."""
    digits, power = list[int](), 1
    while offset:
        if offset & 1:
            digit = 2 - (offset & 3)
            digits.append(digit * power)
            offset -= digit
        offset, power = offset >> 1, power << 1
    return tuple(reversed(digits))


def _around(offset: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """The same distances modulo `length`, from -length / 2 to less than length / 2."""
    return (offset + length // 2) % length - length // 2


def _branches(wanted: Iterable[tuple[int, int]]) -> list[dict[tuple[int, int, int], tuple[int, int]]]:
    """The tree of rotations: by how many steps come before, (ciphertext, where its step leads, the step) -> where it starts."""
    layers = defaultdict[int, dict[tuple[int, int, int], tuple[int, int]]](dict)
    for which, offset in wanted:
        at = 0
        for depth, step in enumerate(steps(offset)):
            layers[depth][which, at + step, step] = (which, at)
            at += step
    return [layers[depth] for depth in sorted(layers)]


@dataclass(frozen=True)
class Plan:
    """How a linear map is computed.

    Args:
        context: the keys.
        left: how many multiplications the sources have left; the fewest, if they differ.
        diagonals: the map.
        weighted: False if all weights are 1 and every slot of a rotated source belongs to the target: then only rotations and sums are
            left, and no multiplication is used up.
    """

    context: EvaluationContext
    left: int
    diagonals: Diagonals
    weighted: bool = True

    @cached_property
    def _split(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rotation of each diagonal before and after its product: the cheapest of all splits at a power of two."""
        slots, map_ = self.context.parameters.slots, self.diagonals
        whole = _around(map_.offset, slots)
        best, least_s = (whole, np.zeros_like(whole)), float("inf")
        before_s = Prices(self.context, self.left).rotation_s
        after = Prices(self.context, self.left - 1)
        for unit in (1 << power for power in range(slots.bit_length())) if self.weighted else ():
            small = _around(map_.offset, unit)
            rest = _around(map_.offset - small, slots)
            babies = np.unique((map_.source * slots + small % slots)[small != 0]).size
            giants = np.unique((map_.target * slots + rest % slots)[rest != 0]).size
            seconds = babies * before_s + giants * (after.rotation_s + after.division_s)
            if seconds < least_s:
                best, least_s = (small, rest), seconds
        return best

    @cached_property
    def _before(self) -> list[dict[tuple[int, int, int], tuple[int, int]]]:
        return _branches(set(zip(self.diagonals.source.tolist(), self._split[0].tolist(), strict=True)))

    @cached_property
    def _after(self) -> list[dict[tuple[int, int, int], tuple[int, int]]]:
        return _branches(set(zip(self.diagonals.target.tolist(), self._split[1].tolist(), strict=True)))

    @cached_property
    def cost(self) -> Cost:
        """Before anything is computed."""
        prices, after = Prices(self.context, self.left), Prices(self.context, self.left - 1)
        babies, giants = sum(map(len, self._before)), sum(map(len, self._after))
        seconds = babies * prices.rotation_s + giants * after.rotation_s
        count = len(self.diagonals.target)
        held = babies * prices.size_bytes + giants * after.size_bytes
        if not self.weighted:
            return Cost(0, babies, 0, seconds, held)
        sums = len(set(zip(self.diagonals.target.tolist(), self._split[1].tolist(), strict=True)))
        seconds += count * (prices.constant_s if self.diagonals.constant else prices.mask_s) + sums * prices.division_s
        return Cost(1, babies + giants, count, seconds, held)

    def error(self, bound: float, error: float, gain: float, largest: float, together: int = 1) -> float:
        """How wrong a target slot can be, or a sum of `together` of them.

        Args:
            bound: no source slot is larger.
            error: how wrong a source slot can be.
            gain: no target slot, or sum of them, has weights whose absolute values add up to more.
            largest: no weight is larger in absolute value.
            together: slots of one ciphertext.
        """
        noise, scales, left = self.context.noise, self.context.scales, max(self.left, 0)
        depth, terms = len(self._before), int(np.bincount(self.diagonals.target).max())
        error += depth * max(noise.switching(above, scales[above]) for above in range(left, len(scales)))
        if not self.weighted:
            return together * terms * error
        # Sources can have more multiplications left: weights are encoded so that all products have the same scale (Arithmetic.combine).
        rounding = (noise.constant if self.diagonals.constant else noise.encoding)(largest, scales[left] ** 2 / max(scales[left:]))
        result = gain * error + together * terms * (bound + error) * rounding
        slots = self.context.parameters.slots
        sums = np.unique(self.diagonals.target * slots + self._split[1] % slots) // slots
        divisions = int(np.bincount(sums).max())
        turns = max(Counter(which for layer in self._after for which, _, _ in layer).values(), default=0)
        after = max(left - 1, 0)
        divided = together * divisions * noise.rescaling(scales[after])
        return result + divided + turns * noise.switching(after, scales[after], together)

    def run(self, sources: Sequence[Ciphertext]) -> list[Ciphertext]:
        """The target ciphertexts, with `left - cost.levels` multiplications left."""
        map_ = self.diagonals
        before, after = (part.tolist() for part in self._split)
        turned = self._turned(sources)
        parts = defaultdict[tuple[int, int], list[int]](list)
        for at, key in enumerate(zip(map_.target.tolist(), after, strict=True)):
            parts[key].append(at)
        rotated = [turned[source, small] for source, small in zip(map_.source.tolist(), before, strict=True)]
        if not self.weighted:
            sums = self._totals([[rotated[at] for at in part] for part in parts.values()])
        else:
            sums = []
            for batch in _batches(list(parts.items())):
                jobs = [([(rotated[at], _rolled(map_.weights(at), shift)) for at in part], self.left - 1) for (_, shift), part in batch]
                sums += self.context.each("combine", jobs)
        return self._gathered(dict(zip(parts, sums, strict=True)))

    def _turned(self, sources: Sequence[Ciphertext]) -> dict[tuple[int, int], Ciphertext]:
        """Babies: by (source, offset) the source rotated, for all offsets that are needed and those on the way to them."""
        turned = {(at, 0): source for at, source in enumerate(sources)}
        for layer in self._before:
            rotated = self.context.each("rotate", [(turned[start], step) for (_, _, step), start in layer.items()])
            turned |= {(which, to): ciphertext for (which, to, _), ciphertext in zip(layer, rotated, strict=True)}
        return turned

    def _gathered(self, sums: dict[tuple[int, int], Ciphertext]) -> list[Ciphertext]:
        """Giants: the tree of rotations backwards, adding up where branches meet."""
        pending = defaultdict[tuple[int, int], list[Ciphertext]](list)
        for key, ciphertext in sums.items():
            pending[key].append(ciphertext)
        for layer in reversed(self._after):
            added = self._totals([pending.pop((which, to)) for which, to, _ in layer])
            turned = self.context.each("rotate", [(ciphertext, step) for ciphertext, (_, _, step) in zip(added, layer, strict=True)])
            for start, ciphertext in zip(layer.values(), turned, strict=True):
                pending[start].append(ciphertext)
        return self._totals([pending[target, 0] for target in range(self.diagonals.targets)])

    def _totals(self, sums: list[list[Ciphertext]]) -> list[Ciphertext]:
        added = iter(self.context.each("total", [(terms,) for terms in sums if len(terms) > 1]))
        return [next(added) if len(terms) > 1 else terms[0] for terms in sums]


def _rolled(weights: Plain, shift: int) -> Plain:
    """Weights of a product whose result is rotated by `shift` afterwards."""
    return weights if isinstance(weights, float) or not shift else np.roll(weights, shift)


def _batches(parts: list[tuple[tuple[int, int], list[int]]]) -> Iterable[list[tuple[tuple[int, int], list[int]]]]:
    """Parts with not too many diagonals in all."""
    batch, count = list[tuple[tuple[int, int], list[int]]](), 0
    for part in parts:
        if batch and count + len(part[1]) > _WEIGHTS_AT_ONCE:
            yield batch
            batch, count = [], 0
        batch.append(part)
        count += len(part[1])
    yield batch
