"""`TensorSpec`: what is public about a tensor, within bounds that hold before anything of its size is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stfed.encoding.arrays import FLOAT_DTYPES, INTEGER_CHANGE
from stfed.errors import LocalError
from stfed.wire import Reader, Writer

MAX_NAME_BYTES = 1024
MAX_DIMENSIONS = 64
MAX_WORDS = 1 << 40
"""Most elements of a tensor, and most words of a vector: over any memory, and far under what overflows a 64-bit size in bytes."""


def check_name(name: object, what: str) -> None:
    """Raises `LocalError` unless `name` is a str of at most `MAX_NAME_BYTES` bytes that UTF-8 can hold."""
    try:
        size_bytes = len(name.encode("utf-8")) if isinstance(name, str) else -1
    except UnicodeEncodeError:
        size_bytes = -1
    if not 0 <= size_bytes <= MAX_NAME_BYTES:
        raise LocalError(f"a {what} name is not text of at most {MAX_NAME_BYTES} bytes of UTF-8")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of one tensor.

    Raises:
        LocalError: a name over 1 KiB, an unknown dtype, more than 64 dimensions, or a size over 2^40.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "tensor")
        if self.dtype not in FLOAT_DTYPES and self.dtype not in INTEGER_CHANGE:
            raise LocalError(f"tensor {self.name!r} has the unknown dtype {self.dtype!r}")
        # zeros are left out of the product: (0, 2^63) is no more allowed than (1, 2^63)
        if len(self.shape) > MAX_DIMENSIONS or min(self.shape, default=0) < 0 or math.prod(d for d in self.shape if d) > MAX_WORDS:
            raise LocalError(f"tensor {self.name!r} has a shape of over {MAX_WORDS} elements or {MAX_DIMENSIONS} dimensions")

    def write(self, writer: Writer) -> None:
        """Its one encoding."""
        writer.text(self.name).text(self.dtype).vector(self.shape, Writer.u64)

    @classmethod
    def read(cls, reader: Reader) -> TensorSpec:
        """The spec that comes next; DecodeError or LocalError if there is none that can be."""
        name, dtype = reader.text("tensor name", max_bytes=MAX_NAME_BYTES), reader.text("tensor dtype", max_bytes=16)
        shape = reader.vector("tensor shape", lambda r: r.u64("dimension"), max_items=MAX_DIMENSIONS, item_min_bytes=8)
        return cls(name, dtype, tuple(shape))

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """True if it is sent clipped and rounded, one word an element; integers and bool are sent exactly."""
        return self.dtype in FLOAT_DTYPES
