"""Packing: the stated bit layout, for every ring and many sizes, against Python integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import pack, packed_bytes, unpack
from stfed.encoding.pack import lane_dtype
from stfed.errors import DecodeError, LocalError

RINGS = range(8, 65)


def random_words(ring_bits: int, size: int, seed: int = 1) -> NDArray[np.unsignedinteger]:
    words = np.random.default_rng(seed).integers(0, 1 << 64, size, np.uint64) >> np.uint64(64 - ring_bits)
    return words.astype(lane_dtype(ring_bits))


def reference(words: NDArray[np.unsignedinteger], ring_bits: int) -> bytes:
    """The layout as the docstring has it: one little-endian number."""
    number = sum(int(word) << (index * ring_bits) for index, word in enumerate(words))
    return number.to_bytes(packed_bytes(words.size, ring_bits), "little")


@pytest.mark.parametrize("ring_bits", RINGS)
def test_every_size_up_to_70_is_the_reference_layout(ring_bits: int) -> None:
    words = random_words(ring_bits, 70)
    words[::7] = (1 << ring_bits) - 1
    for size in range(71):
        data = pack(words[:size], ring_bits)
        assert data == reference(words[:size], ring_bits)
        assert isinstance(data, bytes)
        back = unpack(data, size, ring_bits)
        assert back.dtype == lane_dtype(ring_bits)
        assert back.tolist() == words[:size].tolist()


@pytest.mark.parametrize("ring_bits", [8, 9, 15, 16, 20, 24, 31, 32, 33, 57, 58, 63, 64])
def test_many_tiles(ring_bits: int) -> None:
    words = random_words(ring_bits, 3 * (1 << 14) + 5)
    assert (unpack(pack(words, ring_bits), words.size, ring_bits) == words).all()
    # the tile in the middle is where it belongs
    start = (1 << 14) + 8
    assert pack(words, ring_bits)[start * ring_bits // 8 :][: 2 * ring_bits] == reference(words[start : start + 16], ring_bits)


@given(st.integers(8, 64), st.integers(0, 100), st.integers(0, 2**32))
def test_strided_vectors_pack_like_contiguous_ones(ring_bits: int, size: int, seed: int) -> None:
    words = random_words(ring_bits, 2 * size, seed)
    assert pack(words[::2], ring_bits) == pack(words[::2].copy(), ring_bits)


@pytest.mark.parametrize("ring_bits", RINGS)
def test_padding_must_be_zero(ring_bits: int) -> None:
    for size in range(1, 9):
        data = bytearray(pack(random_words(ring_bits, size), ring_bits))
        for bit in range(size * ring_bits, 8 * len(data)):
            data[-1] ^= 1 << bit % 8
            with pytest.raises(DecodeError, match="padding and must be zero"):
                unpack(data, size, ring_bits)
            data[-1] ^= 1 << bit % 8


@pytest.mark.parametrize("ring_bits", RINGS)
def test_the_length_must_be_exact(ring_bits: int) -> None:
    data = pack(random_words(ring_bits, 9), ring_bits)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(DecodeError, match=f"9 values of {ring_bits} bits take {len(data)}"):
            unpack(wrong, 9, ring_bits)
    with pytest.raises(DecodeError, match="values of"):
        unpack(data, 1 << 60, ring_bits)  # an allocation of this size would fail with another error


@pytest.mark.parametrize("ring_bits", [16, 32, 64])
def test_whole_lanes_are_not_copied(ring_bits: int) -> None:
    data = bytearray(pack(random_words(ring_bits, 10), ring_bits))
    assert np.shares_memory(unpack(data, 10, ring_bits), np.frombuffer(data, np.uint8))
    assert not unpack(bytes(data), 10, ring_bits).flags.writeable


@pytest.mark.parametrize("ring_bits", [ring_bits for ring_bits in RINGS if ring_bits not in (16, 32, 64)])
def test_values_over_the_ring_are_refused(ring_bits: int) -> None:
    words = random_words(ring_bits, 20)
    words[13] = 1 << ring_bits
    with pytest.raises(LocalError, match=f"more than {ring_bits} bits"):
        pack(words, ring_bits)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(LocalError, match="one-dimensional uint32, this is int64"):
        pack(np.zeros(3, np.int64), 20)
    with pytest.raises(LocalError, match="one-dimensional uint16"):
        pack(np.zeros((3, 1), np.uint16), 16)
