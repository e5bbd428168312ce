"""Where the elements of a tensor lie in the slots of its ciphertexts.

The first axis runs along the slots: the rows of a column, which is what the other axes together number, lie side by side. A column takes
`block` slots, a power of two, and as many columns as fit share a ciphertext; a column that is longer than a ciphertext is cut into chunks.
So a product with a plain matrix from the right is sums of multiples of columns, which needs no rotation at all for long columns, and the
distance between columns is a power of two, which is one rotation for the others.

    shape (3, 4), block 4, 16 slots:   a00 a10 a20 .  a01 a11 a21 .  a02 a12 a22 .  a03 a13 a23 .
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError


@dataclass(frozen=True)
class Layout:
    """The places of a tensor.

    Attributes:
        shape: of the tensor; () for a single number.
        slots: of a ciphertext.
        block: slots from one column to the next; a power of two. A column of more rows than `slots` has `block == slots`.
        uniform: for a single element that stands in *every* slot of its one ciphertext, and fits to everything.
    """

    shape: tuple[int, ...]
    slots: int
    block: int
    uniform: bool = False

    def __post_init__(self) -> None:
        if self.block < 1 or self.block > self.slots or self.block & (self.block - 1):
            raise LocalError(f"columns of {self.block} slots in ciphertexts of {self.slots}", hint="a power of two that fits")
        if self.rows > self.block and self.block != self.slots:
            raise LocalError(f"columns of {self.block} slots for {self.rows} rows")
        if self.uniform and self.size != 1:
            raise LocalError(f"a tensor of shape {self.shape} is no single number")
        if self.size == 0:
            raise LocalError(f"a tensor of shape {self.shape} has no elements: nothing to encrypt")

    @classmethod
    def of(cls, shape: tuple[int, ...], slots: int) -> Self:
        """The natural layout of a fresh tensor: the smallest block that a column fits into; uniform for a single number."""
        rows = shape[0] if shape else 1
        block = min(slots, 1 << max(0, rows - 1).bit_length())
        return cls(shape, slots, block, uniform=math.prod(shape) == 1)

    @property
    def rows(self) -> int:
        """The length of the first axis."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        """The product of the lengths of all other axes."""
        return math.prod(self.shape[1:])

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self.shape)

    @property
    def chunks(self) -> int:
        """Ciphertexts that a column is cut into."""
        return -(-self.rows // self.block)

    @property
    def together(self) -> int:
        """Columns that share a ciphertext."""
        return self.slots // self.block

    @property
    def ciphertexts(self) -> int:
        """How many there are."""
        return self.chunks * -(-self.columns // self.together)

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ciphertext and the slot of each element: two arrays of `shape`. Of a uniform tensor the first slot."""
        row, column = np.divmod(np.arange(self.size, dtype=np.int64), self.columns)
        chunk, offset = np.divmod(row, self.block)
        group, place = np.divmod(column, self.together)
        return (group * self.chunks + chunk).reshape(self.shape), (place * self.block + offset).reshape(self.shape)

    def spread(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values of `shape` (or broadcastable to it) in their slots: float64 (ciphertexts, slots), zero where no element is.

        A uniform layout has its value in all slots.
        """
        values = np.broadcast_to(np.asarray(values, np.float64), self.shape)
        if self.uniform:
            return np.full((1, self.slots), values.reshape(()))
        padded = np.zeros((self.chunks * self.block, -(-self.columns // self.together) * self.together))
        padded[: self.rows, : self.columns] = values.reshape(self.rows, self.columns)
        # (chunk, offset, group, place) to (group, chunk) x (place, offset)
        cut = padded.reshape(self.chunks, self.block, -1, self.together)
        return np.ascontiguousarray(cut.transpose(2, 0, 3, 1)).reshape(self.ciphertexts, self.slots)

    def gather(self, slots: NDArray[Any]) -> NDArray[Any]:
        """The inverse: values of `shape` from (ciphertexts, slots)."""
        if self.uniform:
            return slots[0, :1].reshape(self.shape)
        cut = slots.reshape(-1, self.chunks, self.together, self.block).transpose(1, 3, 0, 2)
        padded = cut.reshape(self.chunks * self.block, -1)
        return np.ascontiguousarray(padded[: self.rows, : self.columns]).reshape(self.shape)
