"""b bits on the wire for b bits of information: packing of ring vectors, and the only reader of it.

The layout is one little-endian bit string: value i takes the bits [i b, (i + 1) b), least significant first, where bit k is bit k mod 8
of byte k // 8. The string is filled up to whole bytes with zeros, which the reader checks. For b = 16, 32 and 64 this is the vector's own
memory on a little-endian machine, and nothing is copied or computed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.errors import DecodeError, LocalError

_TILE = 1 << 14
_GROUP = 8
"""Values that end on a byte boundary together, for every b: 8 b bits are b bytes. `_TILE` is a multiple of it."""


def lane_dtype(ring_bits: int) -> np.dtype[Any]:
    """The smallest unsigned dtype of at least 16 bits that holds `ring_bits` bits."""
    return np.dtype(np.uint16 if ring_bits <= 16 else np.uint32 if ring_bits <= 32 else np.uint64)


def packed_bytes(length: int, ring_bits: int) -> int:
    """Bytes that `length` values of `ring_bits` bits take: ceil(length * ring_bits / 8)."""
    return -(-length * ring_bits // 8)


def pack(vector: NDArray[Any], ring_bits: int) -> bytes:
    """The packed values, exactly `packed_bytes(len(vector), ring_bits)` bytes; arguments and errors as `pack_into`."""
    packed = io.BytesIO(bytes(packed_bytes(vector.size, ring_bits)))
    pack_into(packed, vector, ring_bits)
    return packed.getvalue()


def pack_into(target: io.BytesIO, vector: NDArray[Any], ring_bits: int) -> None:
    """Writes the packed values. A `BytesIO` made with its final size does not grow and gives its buffer away: one copy in memory.

    Args:
        target: standing where they belong.
        vector: shape (u,), the lane dtype of the ring, values under 2^`ring_bits`.
        ring_bits: 8 to 64.

    Raises:
        LocalError: another dtype, more dimensions, or a value that has more bits.
    """
    lane = lane_dtype(ring_bits)
    if vector.dtype != lane or vector.ndim != 1:
        raise LocalError(f"a ring vector of {ring_bits} bits is one-dimensional {lane}, this is {vector.dtype}{list(vector.shape)}")
    if ring_bits == 8 * lane.itemsize:
        target.write(np.ascontiguousarray(vector, lane.newbyteorder("<")).data)
        return
    for start in range(0, vector.size, _TILE):
        part = vector[start : start + _TILE]
        if part.max() >> ring_bits:
            raise LocalError(f"a value of the ring vector has more than {ring_bits} bits", hint="reduce it modulo 2^ring_bits first")
        target.write(_pack_tile(part, ring_bits))


def unpack(data: bytes | bytearray | memoryview, length: int, ring_bits: int) -> NDArray[Any]:
    """The `length` values in `data`, in the lane dtype of the ring.

    For b = 16, 32 and 64 the result shares the memory of `data` and is read-only where that is.

    Raises:
        DecodeError: not exactly `packed_bytes(length, ring_bits)` bytes (checked before anything is allocated), or padding that is not
            zero.
    """
    lane = lane_dtype(ring_bits)
    view = memoryview(data).cast("B")
    expected = packed_bytes(length, ring_bits)
    if len(view) != expected:
        raise DecodeError(f"packed vector: {len(view)} bytes, {length} values of {ring_bits} bits take {expected}")
    if ring_bits == 8 * lane.itemsize:
        return np.frombuffer(view, lane.newbyteorder("<")).astype(lane, copy=False)
    padding_bits = 8 * expected - length * ring_bits
    if padding_bits and view[-1] >> (8 - padding_bits):
        raise DecodeError(f"packed vector: the last {padding_bits} bits are padding and must be zero")
    values = np.empty(length, lane)
    for start in range(0, length, _TILE):
        part = values[start : start + _TILE]
        _unpack_tile(view[start * ring_bits // 8 :][: packed_bytes(part.size, ring_bits)], part, ring_bits)
    return values


def _pack_tile(part: NDArray[Any], b: int) -> memoryview:
    """One tile, without branches on values: merge neighbours up to 64-bit words, then OR the words in at their byte and bit offsets."""
    groups = -(-part.size // _GROUP)
    words = np.zeros(groups * _GROUP, part.dtype)
    words[: part.size] = part
    bits = b
    while words.itemsize < 8:
        width, mask = 8 * words.itemsize, (1 << bits) - 1
        words = words.view(f"u{2 * words.itemsize}")
        words = words & mask | words >> (width - bits) & (mask << bits)
        bits *= 2
    columns = words.reshape(groups, -1)
    out = bytearray(groups * b + 8)
    for column, (window, ninth, shift) in enumerate(_windows(out, groups, b, bits)):
        window |= columns[:, column] << shift
        if ninth is not None:
            ninth |= (columns[:, column] >> (64 - shift)).astype(np.uint8)
    return memoryview(out)[: packed_bytes(part.size, b)]


def _unpack_tile(data: memoryview, part: NDArray[Any], b: int) -> None:
    """The inverse of `_pack_tile`, into `part`."""
    groups = -(-part.size // _GROUP)
    padded = bytearray(groups * b + 8)
    padded[: len(data)] = data
    bits = b * 8 // part.itemsize
    columns = np.empty((groups, _GROUP * part.itemsize // 8), np.uint64)
    for column, (window, ninth, shift) in enumerate(_windows(padded, groups, b, bits)):
        columns[:, column] = window >> shift
        if ninth is not None:
            columns[:, column] |= ninth.astype(np.uint64) << (64 - shift)
    words: NDArray[Any] = columns.reshape(-1)
    if bits < 64:
        words &= (1 << bits) - 1
    while words.itemsize > part.itemsize:
        bits, half = bits // 2, words.itemsize // 2
        mask = (1 << bits) - 1
        words = (words & mask | (words & (mask << bits)) << (8 * half - bits)).view(f"u{half}")
    part[:] = words[: part.size]


def _windows(buffer: bytearray, groups: int, b: int, bits: int) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None, int]]:
    """Where each word of a group lies in every group.

    Yields the 64 bits from the word's first byte on, the byte after those if the word reaches into it, and how many bits of the first byte
    belong to the word before. Groups are b >= 8 bytes apart, so no two windows of one array overlap.
    """
    for first_bit in range(0, _GROUP * b, bits):
        offset, shift = divmod(first_bit, 8)
        window: NDArray[Any] = np.ndarray((groups,), "<u8", buffer, offset, (b,))
        ninth: NDArray[Any] | None = np.ndarray((groups,), "u1", buffer, offset + 8, (b,)) if bits + shift > 64 else None
        yield window, ninth, shift
