"""The tensors that every contender saves and loads: one large set and one of many small ones, the same bytes in every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EMBEDDING, PROBE = "embedding", "probe"
"""A sixteenth and a 256th of the large set: 64 MiB and 4 MiB of 1 GiB. A row is read of the first, the whole of the second."""
ROW = 7
_COLUMNS = 1024
_SMALL_BYTES = 1 << 10
_ALIGNMENT_BYTES = 64

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Workload:
    """Tensors of float32, all views of one buffer.

    Attributes:
        tensors: by name.
        buffer: their bytes, one after the other: what the limits work on.
    """

    tensors: Tensors
    buffer: NDArray[np.uint8]

    @property
    def size_bytes(self) -> int:
        """Of all tensors together."""
        return self.buffer.nbytes


def large(size_bytes: int, count: int) -> Workload:
    """`count` tensors, at least 3, of about `size_bytes` together, `EMBEDDING` and `PROBE` among them and all others of equal length."""
    row_bytes = 4 * _COLUMNS
    embedding, probe = max(ROW + 1, size_bytes // 16 // row_bytes), max(1, size_bytes // 256 // row_bytes)
    left = size_bytes - (embedding + probe) * row_bytes
    each = max(_ALIGNMENT_BYTES, left // (count - 2) // _ALIGNMENT_BYTES * _ALIGNMENT_BYTES) // 4
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (embedding, _COLUMNS), PROBE: (probe, _COLUMNS)}
    return _filled({**shapes, **{f"layers.{index:04}.weight": (each,) for index in range(count - 2)}})


def small(count: int) -> Workload:
    """`count` tensors of 1 KiB."""
    return _filled({f"layers.{index:05}.bias": (_SMALL_BYTES // 4,) for index in range(count)})


def _filled(shapes: Mapping[str, tuple[int, ...]]) -> Workload:
    lengths = [int(np.prod(shape)) for shape in shapes.values()]
    values = np.random.default_rng(0).standard_normal(sum(lengths), dtype=np.float32)
    parts = np.split(values, np.cumsum(lengths)[:-1])
    return Workload({name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}, values.view(np.uint8))
