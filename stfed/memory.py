"""Memory for a large result that is written in place and given away as `bytes`, without a copy."""

from __future__ import annotations

import ctypes
import io
import mmap
import sys

import numpy as np
from numpy.typing import NDArray

_LARGE_PAGES_FROM = 1 << 22


class Blank:
    """`size_bytes` zero bytes, to be written through `view` and taken once with `taken`.

    Large ones ask Linux for large pages: a page is zeroed at its first touch, and 4 KiB at a time that takes longer than encoding what is
    written there. It is a hint, and no error if it is not taken.
    """

    def __init__(self, size_bytes: int) -> None:
        # A BytesIO with the only reference to its bytes writes into them and gives them away.
        self._bytes, self._size_bytes = io.BytesIO(bytes(size_bytes)), size_bytes
        self.view: NDArray[np.uint8] = np.frombuffer(self._bytes.getbuffer(), np.uint8)
        if size_bytes >= _LARGE_PAGES_FROM and sys.platform == "linux":
            first = -(-self.view.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
            end = (self.view.ctypes.data + size_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), ctypes.c_int(mmap.MADV_HUGEPAGE))

    def taken(self) -> bytes:
        """The bytes. Nobody may have a view of them any more: BufferError if somebody does."""
        del self.view
        self._bytes.truncate(self._size_bytes)  # changes nothing, but refuses while there are views, where getvalue would copy
        return self._bytes.getvalue()
