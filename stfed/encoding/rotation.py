"""The randomised Hadamard rotation: 256 coordinates become 256 that look alike, whatever they looked like.

Few bits a value are enough where the values are spread evenly over the range that the bits divide. Updates are not: a few coordinates are
far larger than the rest (heavy tails), so a range that holds them wastes its bits on all others. Suresh et al. (*Distributed Mean
Estimation with Limited Communication*, ICML 2017) multiply by random signs, then by a Hadamard matrix: every rotated coordinate is 1/16 of
a signed sum of 256, so it is nearly normal, with their root mean square as its deviation. Kairouz et al. (*The Distributed Discrete
Gaussian Mechanism for Federated Learning with Secure Aggregation*, ICML 2021) do the same before a secure sum.

The map is linear and orthonormal: the mean of rotated vectors, rotated back, is the mean, and the noise of rounding keeps its size. Blocks
of 256 rather than whole vectors, because they stay in the cache and can be done in any order. The 256 are no neighbours: large changes are
(a layer's bias, one filter), and a block of such would stay large. `benchmarks.bits` shows both effects on real updates.

The signs are public and follow from a seed that the coordinator chooses. That gives it nothing. What it is shown is the sum of the rotated
vectors, from which the sum of the vectors follows whatever the seed, and the other way round, so both are the same knowledge; what masks
hide about single vectors, they hide whatever these are. What does depend on the seed is which coordinates are clipped. The coordinator sees
their number, over all parties and coordinates, and it has that number without a rotation as well, of changes to a model that it chooses.
The seed is part of the plan, so a party's policy holds it still for the whole run (`Policy.fixed_encoding`), like clip and weight: it
cannot be varied to ask one question after another. A bad seed costs precision, which the coordinator could ruin anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError

Floats: TypeAlias = NDArray[np.float64]

BLOCK = 256
"""Coordinates that are rotated together: two products with 16 x 16 matrices."""

CHUNK = 1 << 14
"""Coordinates that blocks are taken from. One matrix product has 16 x 16 x 1024 multiplications then, few enough that OpenBLAS stays on the
calling thread, so that encoding on all cores does not start more threads than there are cores."""

SEED_BYTES = 16

ROUNDING = 2.0**-41
"""A computed coordinate, and one that went forward and back, is off by less than this times the largest 2-norm of a block in its chunk.

In a block of m at most 34 roundings lie between an input and an output, in any order of the sums and with or without fused operations, so
the error is at most gamma_34 sum_j |H_ij| |x_j| (Higham, *Accuracy and Stability of Numerical Algorithms*, 3.1), and with |H_ij| = m^(-1/2)
that is at most gamma_34 < 2^-47 of the block's 2-norm (Cauchy and Schwarz). A coordinate goes through two blocks at most, whose rows are
unit vectors: 17 times as much in one direction, 53 times in both.
"""


def tiles(length: int, size: int) -> list[slice]:
    """A vector in pieces of `size`, a multiple of `CHUNK`, each of which can be rotated alone; the last one is up to 255 longer."""
    starts = [*range(0, max(length - BLOCK + 1, 1), size)]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], length], strict=True) if stop > start]


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotation of all vectors of a run: x -> H D x on each block, with D random signs and H the orthonormal Hadamard matrix.

    A vector is cut into chunks of 2^14 coordinates; a rest of fewer than 256 belongs to the chunk before it. In a chunk of L coordinates
    and c = floor(L / 256), the last 256 c are a matrix of 256 rows in C order, and its c columns are the blocks. Where 256 c < L, the first
    256 coordinates are then one more block: so those that the matrix left out are mixed with others, nothing is padded, and the whole is
    orthonormal. (The first and not the last ones: a model ends with a bias, whose changes are large and better spread over the matrix.) A
    vector shorter than 256 is cut into one block for each power of two in its length, the largest first.

    The sign of coordinate i of chunk j is bit i of SHAKE-128(seed, j in 8 bytes, big-endian), and in the one more block it is bit
    8 ceil(L / 8) + i. The first bit is the lowest of the first byte, and 1 is minus.

    Double precision throughout. Machines may differ in the last bits: parties rotate, only the coordinator rotates back, and `ROUNDING`
    bounds what both can be off by. Any number of threads may use one object.

    Attributes:
        seed: 16 bytes, public.

    Raises:
        LocalError: the seed has another length.
    """

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise LocalError(f"the seed of a rotation has {len(self.seed)} bytes, it takes {SEED_BYTES}")

    def forward(self, values: Floats, start: int) -> None:
        """Rotates in place.

        NaN or infinity spreads over the blocks that it is in; NumPy warns of that unless told not to.

        Args:
            values: shape (k,), contiguous: the coordinates from `start` on. k is a multiple of 2^14 unless they are the vector's last, and
                at least 256 unless they are all.
            start: a multiple of 2^14.

        Raises:
            LocalError: not such an array, or another start.
        """
        for part, signs, room in self._chunks(values, start):
            for block, own in blocks(part, signs):
                np.multiply(block, own, out=block)
                _hadamard(block, room)

    def backward(self, values: Floats, start: int) -> None:
        """The inverse of `forward`, with the same arguments."""
        for part, signs, room in self._chunks(values, start):
            for block, own in reversed(blocks(part, signs)):
                _hadamard(block, room)
                np.multiply(block, own, out=block)

    def signs(self, chunk: int, size: int, out: Floats | None = None) -> Floats:
        """D for one chunk.

        Args:
            chunk: its number.
            size: how many coordinates it has.
            out: room for the result; otherwise it is new.

        Returns:
            1.0 or -1.0 for each coordinate, `size` rounded up to a multiple of 8, then for the one more block.
        """
        drawn = hashlib.shake_128(self.seed + chunk.to_bytes(8, "big")).digest(-(-size // 8) + BLOCK // 8)
        found = np.empty(8 * len(drawn)) if out is None else out[: 8 * len(drawn)]
        # Eight signs a look-up: several times as fast as making numbers of single bits. mode="clip" spares a copy; nothing is out of range.
        np.take(_SIGNS_OF_BYTE, np.frombuffer(drawn, np.uint8), axis=0, out=found.reshape(-1, 8), mode="clip")
        return found

    def _chunks(self, values: Floats, start: int) -> Iterator[tuple[Floats, Floats, Floats]]:
        """The chunks, their signs, and room of their size. Signs and room are used again for the next one."""
        if values.dtype != np.float64 or values.ndim != 1 or not values.flags.c_contiguous:
            raise LocalError("only a contiguous array of float64 in one dimension can be rotated in place")
        if start % CHUNK or (start and values.size < BLOCK):
            raise LocalError(f"{values.size} coordinates from {start} on cannot be rotated alone", hint="cut the vector as `tiles` does")
        longest = min(values.size, CHUNK + BLOCK)
        room, signs = np.empty(longest), np.empty(longest + 2 * BLOCK)
        for place in tiles(values.size, CHUNK):
            part = values[place]
            yield part, self.signs((start + place.start) // CHUNK, part.size, signs), room


def blocks(part: Floats, signs: Floats) -> list[tuple[Floats, Floats]]:
    """What to rotate one after the other, and its signs: a matrix whose columns are blocks."""
    if len(part) >= BLOCK:
        rest = len(part) % BLOCK
        matrix = part[rest:], signs[rest : len(part)]
        return [matrix, (part[:BLOCK], signs[-BLOCK:])] if rest else [matrix]
    places = [(len(part) & ~(2 * size - 1), size) for size in (128, 64, 32, 16, 8, 4, 2, 1) if len(part) & size]
    return [(part[at : at + size], signs[at : at + size]) for at, size in places]


def _hadamard(values: Floats, room: Floats) -> None:
    """H on each column, in place: H_size = H_outer (x) H_inner, and a column of the matrix is outer x inner."""
    size = min(values.size, BLOCK)
    inner = min(size, 16)
    outer = size // inner
    room = room[: values.size]
    np.matmul(MATRICES[outer], values.reshape(outer, -1), out=room.reshape(outer, -1))
    np.matmul(MATRICES[inner], room.reshape(outer, inner, -1), out=values.reshape(outer, inner, -1))


def _sylvester(size: int) -> Floats:
    """The orthonormal Hadamard matrix in Sylvester's order: entry (i, j) is negative where i & j has an odd number of ones."""
    matrix: Floats = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    matrix /= size**0.5
    return matrix


MATRICES = {size: _sylvester(size) for size in (1, 2, 4, 8, 16)}
_SIGNS_OF_BYTE: NDArray[Any] = 1.0 - 2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1)
