"""b bits for a number below a modulus of b bits: the packing of words, faster than the general one of `stfed.encoding.pack`.

The layout is the same little-endian bit string: word i takes the bits [i b, (i + 1) b), least significant first. The number of words is
always a multiple of eight here, so the string ends with a byte and has no padding that could hold something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPARE_BYTES = 8
"""A window of 64 bits on the last word of a string may reach over its end."""


def pack(words: NDArray[np.uint64], bits: int) -> bytes:
    """The packed words.

    Args:
        words: uint64 (n,), each below 2^bits; n is a multiple of 8.
        bits: 8 to 64.
    """
    columns, size_bytes = words.reshape(-1, _group(bits)), words.size * bits // 8
    room = bytearray(size_bytes + _SPARE_BYTES)
    for column, (window, ninth, shift) in enumerate(_windows(room, len(columns), bits)):
        window |= columns[:, column] << shift
        if ninth is not None:
            ninth |= (columns[:, column] >> (64 - shift)).astype(np.uint8)
    return bytes(memoryview(room)[:size_bytes])


def unpack(data: bytes | memoryview, bits: int) -> NDArray[np.uint64]:
    """The inverse: uint64 (8 len(data) / bits,), each below 2^bits."""
    groups = len(data) // (_group(bits) * bits // 8)
    room = bytearray(len(data) + _SPARE_BYTES)
    room[: len(data)] = data
    words = np.empty((groups, _group(bits)), np.uint64)
    for column, (window, ninth, shift) in enumerate(_windows(room, groups, bits)):
        np.right_shift(window, shift, out=words[:, column])
        if ninth is not None:
            words[:, column] |= ninth.astype(np.uint64) << (64 - shift)
    words &= (1 << bits) - 1
    return words.reshape(-1)


def _group(bits: int) -> int:
    """Words that end on a byte boundary together; enough of them that the windows of two groups do not overlap."""
    words = 8 // math.gcd(bits, 8)
    while words * bits < 64:
        words *= 2
    return words


def _windows(room: bytearray, groups: int, bits: int) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None, int]]:
    """For each word of a group: 64 bits from its first byte on in every group, the byte after them if it reaches so far, its first bit."""
    size_bytes = _group(bits) * bits // 8
    for column in range(_group(bits)):
        offset, shift = divmod(column * bits, 8)
        window: NDArray[Any] = np.ndarray((groups,), "<u8", room, offset, (size_bytes,))
        ninth: NDArray[Any] | None = np.ndarray((groups,), "u1", room, offset + 8, (size_bytes,)) if bits + shift > 64 else None
        yield window, ninth, shift
