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

_TILE = 1 << 17
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
    packer, room = Packer(ring_bits), np.empty(packed_bytes(_TILE, ring_bits), np.uint8)
    for start in range(0, vector.size, _TILE):
        part = np.ascontiguousarray(vector[start : start + _TILE])
        if part.max() >> ring_bits:
            raise LocalError(f"a value of the ring vector has more than {ring_bits} bits", hint="reduce it modulo 2^ring_bits first")
        out = room[: packed_bytes(part.size, ring_bits)]
        packer.pack(part, out)
        target.write(out.data)


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


class Packer:
    """Packs one tile after the other. Has scratch, so each thread needs one of its own.

    Args:
        ring_bits: b, 8 to 64, and not all the bits of a lane: those vectors are packed as they are.
    """

    def __init__(self, ring_bits: int) -> None:
        lane = lane_dtype(ring_bits)
        self._ring_bits = ring_bits
        self._words, self._other = np.empty(_TILE, lane), np.empty(_TILE, lane)
        self._out = np.empty(_TILE // _GROUP * ring_bits + 8, np.uint8)

    def pack(self, words: NDArray[Any], out: NDArray[np.uint8]) -> None:
        """Writes the words modulo 2^b.

        Args:
            words: shape (k,), the lane dtype, contiguous.
            out: shape (`packed_bytes(k, b)`,).
        """
        for start in range(0, words.size, _TILE):
            part = words[start : start + _TILE]
            self._pack_tile(part, out[start * self._ring_bits // 8 :][: packed_bytes(part.size, self._ring_bits)])

    def _pack_tile(self, part: NDArray[Any], out: NDArray[np.uint8]) -> None:
        """Without branches on values: merges neighbours up to 64-bit words and puts those at their byte and bit offsets."""
        b, groups = self._ring_bits, -(-part.size // _GROUP)
        words, other, bits = self._words[: groups * _GROUP], self._other[: groups * _GROUP], b
        if part.size < words.size:
            words[: part.size], words[part.size :] = part, 0
            part = words
        if words.itemsize == 8:
            np.bitwise_and(part, (1 << b) - 1, out=words)
        while words.itemsize < 8:
            width, mask, double = 8 * words.itemsize, (1 << bits) - 1, f"u{2 * words.itemsize}"
            part, words, other = part.view(double), words.view(double), other.view(double)
            np.right_shift(part, width - bits, out=other)
            np.bitwise_and(other, mask << bits, out=other)
            np.bitwise_and(part, mask, out=words)
            part = np.bitwise_or(words, other, out=words)
            bits *= 2
        if bits % 8 == 0:
            self._put_bytes(words, other, bits)
        else:
            self._put_bits(words, groups, bits)
        out[:] = self._out[: out.size]

    def _put_bytes(self, words: NDArray[Any], other: NDArray[Any], bits: int) -> None:
        """Words that begin on byte boundaries, in one pass.

        Each is stored as the 64 bits of the string that begin there, its own and the next one's first. So where two stores overlap they
        agree, and it does not matter which is later.
        """
        np.left_shift(words[1:], bits, out=other[:-1])
        other[-1] = 0
        np.bitwise_or(words, other, out=words)
        windows: NDArray[Any] = np.ndarray(words.shape, "<u8", self._out, 0, (bits // 8,))
        windows[:] = words

    def _put_bits(self, words: NDArray[Any], groups: int, bits: int) -> None:
        """Words that begin anywhere, column by column of the groups."""
        self._out[: groups * self._ring_bits + 8] = 0
        columns = words.reshape(groups, -1)
        for column, (window, ninth, shift) in enumerate(_windows(self._out, groups, self._ring_bits, bits)):
            window |= columns[:, column] << shift
            if ninth is not None:
                ninth |= (columns[:, column] >> (64 - shift)).astype(np.uint8)


def _unpack_tile(data: memoryview, part: NDArray[Any], b: int) -> None:
    """The inverse of `Packer`, into `part`."""
    groups = -(-part.size // _GROUP)
    padded = bytearray(groups * b + 8)
    padded[: len(data)] = data
    bits = b * 8 // part.itemsize
    if bits % 8 == 0:
        # what a window has of the next word is masked off below
        words = np.ascontiguousarray(np.ndarray((groups * _GROUP * part.itemsize // 8,), "<u8", padded, 0, (bits // 8,)), np.uint64)
    else:
        words = _gathered(padded, groups, part.itemsize, b, bits)
    if words.itemsize == part.itemsize:
        words &= (1 << bits) - 1
    while words.itemsize > part.itemsize:
        bits, half = bits // 2, words.itemsize // 2
        mask = (1 << bits) - 1
        words = (words & mask | (words & (mask << bits)) << (8 * half - bits)).view(f"u{half}")
    part[:] = words[: part.size]


def _gathered(padded: bytearray, groups: int, itemsize: int, b: int, bits: int) -> NDArray[Any]:
    """The merged words of `_put_bits`."""
    columns = np.empty((groups, _GROUP * itemsize // 8), np.uint64)
    for column, (window, ninth, shift) in enumerate(_windows(padded, groups, b, bits)):
        columns[:, column] = window >> shift
        if ninth is not None:
            columns[:, column] |= ninth.astype(np.uint64) << (64 - shift)
    return columns.reshape(-1)


def _windows(
    buffer: bytearray | NDArray[np.uint8], groups: int, b: int, bits: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None, int]]:
    """Where each word of a group lies in every group.

    Yields the 64 bits from the word's first byte on, the byte after those if the word reaches into it, and how many bits of the first byte
    belong to the word before. Groups are b >= 8 bytes apart, so no two windows of one array overlap.
    """
    for first_bit in range(0, _GROUP * b, bits):
        offset, shift = divmod(first_bit, 8)
        window: NDArray[Any] = np.ndarray((groups,), "<u8", buffer, offset, (b,))
        ninth: NDArray[Any] | None = np.ndarray((groups,), "u1", buffer, offset + 8, (b,)) if bits + shift > 64 else None
        yield window, ninth, shift
