import hashlib
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import keystream as ks
from stfed.errors import LocalError
from tests.crypto.material import Seeded, vectors

SEGMENT = ks.SEGMENT_BYTES
KEY = bytes(range(32))
WORDS = (np.uint16, np.uint32, np.uint64)
OTHER_KEYS = [hashlib.sha256(bytes([i])).digest() for i in range(8)]

# Offsets and sizes that meet block and segment borders much more often than chance would.
near_borders = st.builds(lambda segment, off: max(0, segment * SEGMENT + off), st.integers(0, 3), st.integers(-40, 40))
sizes = st.one_of(st.integers(0, 100), st.integers(SEGMENT - 40, SEGMENT + 40), st.just(2 * SEGMENT))


def naive(total: np.ndarray, add: Sequence[bytes], subtract: Sequence[bytes], first_segment: int = 0) -> np.ndarray:
    """The sum as its definition reads, one whole mask after the other."""
    little_endian = total.dtype.newbyteorder("<")
    result = total.copy()
    for key in add:
        result += np.frombuffer(ks.keystream(key, first_segment * SEGMENT, total.nbytes), little_endian)
    for key in subtract:
        result -= np.frombuffer(ks.keystream(key, first_segment * SEGMENT, total.nbytes), little_endian)
    return result


def start_values(dtype: type, words: int) -> np.ndarray:
    return np.frombuffer(ks.keystream(b"start" + bytes(27), 0, words * np.dtype(dtype).itemsize), dtype).copy()


def test_the_library_agrees_with_nist_on_ctr() -> None:
    for case in vectors("published")["ctr"]:
        key, counter_block, plaintext, ciphertext = (bytes.fromhex(case[k]) for k in ("key", "counter_block", "plaintext", "ciphertext"))
        assert Cipher(AES(key), CTR(counter_block)).encryptor().update(plaintext) == ciphertext, case["source"]


def test_the_published_gcm_answer_is_our_first_block() -> None:
    zeros = vectors("published")["gcm"][1]
    assert zeros["plaintext"] == "00" * 16
    assert ks.keystream(bytes(32), 0, 16).hex() == zeros["sealed"][:32]


def test_vectors_of_ranges() -> None:
    case = vectors("keystream")
    assert case["segment_bytes"] == SEGMENT
    for each in case["ranges"]:
        expected = bytes.fromhex(each["bytes"])
        assert ks.keystream(bytes.fromhex(case["key"]), each["offset"], len(expected)) == expected, each["offset"]


def test_vectors_of_sums() -> None:
    for case in vectors("keystream")["sums"]:
        modulus = 2 ** case["word_bits"]
        total = np.array([j * 0x9E3779B97F4A7C15 % modulus for j in range(case["words"])], np.dtype(f"u{case['word_bits'] // 8}"))
        add, subtract = ([bytes.fromhex(key) for key in case[k]] for k in ("add", "subtract"))
        ks.accumulate(total, add, subtract, first_segment=case["first_segment"])
        packed = total.astype(total.dtype.newbyteorder("<")).tobytes()
        assert hashlib.sha256(packed).hexdigest() == case["sha256_of_little_endian_words"]


@pytest.mark.parametrize("segment", [0, 1, 255, 2**17 - 1])
def test_a_segment_is_ctr_from_its_counter_block_and_the_gcm_ciphertext_of_zeros(segment: int) -> None:
    nonce = segment.to_bytes(12, "big")
    stream = ks.keystream(KEY, segment * SEGMENT, SEGMENT)
    assert stream == Cipher(AES(KEY), CTR(nonce + b"\0\0\0\2")).encryptor().update(bytes(SEGMENT))
    assert stream == AESGCM(KEY).encrypt(nonce, bytes(SEGMENT), None)[: -ks._TAG_BYTES]
    out = np.empty(SEGMENT, np.uint8)
    ks.fill(KEY, out, first_segment=segment)
    assert out.tobytes() == stream


STREAM = ks.keystream(KEY, 0, 6 * SEGMENT)


@given(near_borders, sizes)
def test_any_range_is_a_slice_of_the_stream(offset: int, size: int) -> None:
    assert ks.keystream(KEY, offset, size) == STREAM[offset : offset + size]


@given(sizes, st.integers(0, 3))
def test_fill_writes_the_stream_and_nothing_around_it(size: int, first_segment: int) -> None:
    around = np.full(size + 64, 0xAB, np.uint8)
    ks.fill(KEY, around[32 : 32 + size], first_segment=first_segment)
    assert around[32 : 32 + size].tobytes() == STREAM[first_segment * SEGMENT :][:size]
    assert (around[:32] == 0xAB).all()
    assert (around[32 + size :] == 0xAB).all()


@given(st.lists(st.sampled_from(OTHER_KEYS), max_size=5), sizes.filter(lambda size: size <= SEGMENT), st.integers(0, 3))
def test_beginnings_are_slices_of_each_stream(keys: list[bytes], size: int, segment: int) -> None:
    rows = ks.beginnings(keys, size, segment=segment)
    assert rows.shape == (len(keys), size)
    assert [row.tobytes() for row in rows] == [ks.keystream(key, segment * SEGMENT, size) for key in keys]


def test_beginnings_end_with_their_segment() -> None:
    for size in (SEGMENT + 1, -1):
        with pytest.raises(LocalError, match="a segment has"):
            ks.beginnings([KEY], size, segment=0)


def test_no_block_comes_twice_across_segment_borders() -> None:
    blocks = np.frombuffer(STREAM, "V16")
    assert len({bytes(block) for block in blocks}) == len(blocks)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(WORDS),
    st.one_of(st.integers(0, 40), st.integers(-9, 9).map(lambda off: SEGMENT + off), st.integers(-9, 9).map(lambda off: 5 * SEGMENT + off)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([None, 1, 2, 3, 5]),
    st.integers(0, 2),
)
def test_accumulate_is_the_naive_sum(dtype: type, about_bytes: int, adds: int, subs: int, threads: int | None, first_segment: int) -> None:
    total = start_values(dtype, about_bytes // np.dtype(dtype).itemsize)
    add, subtract = OTHER_KEYS[:adds], OTHER_KEYS[adds : adds + subs]
    expected = naive(total, add, subtract, first_segment)
    ks.accumulate(total, add, subtract, threads=threads, first_segment=first_segment)
    assert (total == expected).all()


@pytest.mark.parametrize("dtype", WORDS)
def test_every_number_of_threads_gives_the_same_sum(dtype: type) -> None:
    # Segments that do not divide among threads or tiles, and a last one that is not whole.
    words = (11 * SEGMENT + 1234) // np.dtype(dtype).itemsize
    expected = naive(start_values(dtype, words), OTHER_KEYS[:3], OTHER_KEYS[3:5])
    for threads in (None, 1, 2, 3, 4, 7, 11, 12, 64):
        total = start_values(dtype, words)
        ks.accumulate(total, OTHER_KEYS[:3], OTHER_KEYS[3:5], threads=threads)
        assert (total == expected).all(), threads


def test_large_work_goes_to_threads_by_itself_and_small_work_does_not() -> None:
    assert ks.default_threads(ks._THREADED_WORK_BYTES - 1) == 1
    assert 1 <= ks.default_threads(ks._THREADED_WORK_BYTES) <= 4
    total = start_values(np.uint32, 5 * SEGMENT)
    keys = OTHER_KEYS[:7]
    assert total.nbytes * len(keys) > ks._THREADED_WORK_BYTES
    expected = naive(total, keys, [])
    ks.accumulate(total, keys)
    assert (total == expected).all()


@pytest.mark.parametrize("dtype", WORDS)
def test_what_is_added_and_subtracted_cancels(dtype: type) -> None:
    original = start_values(dtype, 3 * SEGMENT // np.dtype(dtype).itemsize + 5)
    total = original.copy()
    ks.accumulate(total, OTHER_KEYS, OTHER_KEYS[::-1])
    assert (total == original).all()
    ks.accumulate(total, OTHER_KEYS[:4])
    assert (total != original).mean() > 0.99
    ks.accumulate(total, (), OTHER_KEYS[:4])
    assert (total == original).all()


def test_the_same_key_twice_counts_twice() -> None:
    total = np.zeros(100, np.uint32)
    ks.accumulate(total, [KEY, KEY])
    assert (total == 2 * np.frombuffer(STREAM[:400], "<u4")).all()


def test_pieces_at_segment_borders_add_up_to_the_whole() -> None:
    whole, pieces = start_values(np.uint32, 5 * SEGMENT // 4), start_values(np.uint32, 5 * SEGMENT // 4)
    ks.accumulate(whole, OTHER_KEYS[:2], OTHER_KEYS[2:3])
    for start, stop in ((0, 2), (2, 3), (3, 5)):
        ks.accumulate(pieces[start * SEGMENT // 4 : stop * SEGMENT // 4], OTHER_KEYS[:2], OTHER_KEYS[2:3], first_segment=start)
    assert (whole == pieces).all()


def test_accumulate_touches_nothing_around_its_slice() -> None:
    around = np.zeros(SEGMENT // 2 + 20, np.uint16)
    ks.accumulate(around[10:-10], [KEY])
    assert (around[:10] == 0).all()
    assert (around[-10:] == 0).all()
    assert around[10:-10].tobytes() == STREAM[:SEGMENT]


def test_the_end_of_the_stream_is_the_last_byte_a_key_gives_out() -> None:
    last = ks.STREAM_SEGMENTS - 1
    assert ks.keystream(KEY, ks.STREAM_BYTES - 1, 1)
    assert ks.keystream(KEY, ks.STREAM_BYTES, 0) == b""
    for offset, size in ((ks.STREAM_BYTES - 1, 2), (ks.STREAM_BYTES, 1), (-1, 1), (0, -1)):
        with pytest.raises(LocalError, match="one key may give out"):
            ks.keystream(KEY, offset, size)
    ks.fill(KEY, np.empty(SEGMENT, np.uint8), first_segment=last)
    with pytest.raises(LocalError, match="one key may give out"):
        ks.fill(KEY, np.empty(SEGMENT + 1, np.uint8), first_segment=last)
    ks.accumulate(np.zeros(SEGMENT // 4, np.uint32), [KEY], first_segment=last)
    ks.beginnings([KEY], SEGMENT, segment=last)
    for segment in (last + 1, -1):
        with pytest.raises(LocalError, match="one key may give out"):
            ks.beginnings([KEY], 1, segment=segment)
    for first_segment in (last + 1, -1):
        with pytest.raises(LocalError, match="one key may give out"):
            ks.accumulate(np.zeros(1, np.uint32), [KEY], first_segment=first_segment)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_keys_of_other_sizes_are_refused_before_anything_is_written(size: int) -> None:
    out, total = np.zeros(8, np.uint8), np.zeros(8, np.uint32)
    for call in (
        lambda: ks.keystream(bytes(size), 0, 1),
        lambda: ks.fill(bytes(size), out),
        lambda: ks.beginnings([KEY, bytes(size)], 1, segment=0),
        lambda: ks.accumulate(total, [KEY, bytes(size)]),
        lambda: ks.accumulate(total, [KEY], [bytes(size)]),
    ):
        with pytest.raises(LocalError, match="32 bytes"):
            call()
    assert not out.any()
    assert not total.any()


def read_only() -> np.ndarray:
    array = np.zeros(8, np.uint32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "total",
    [
        np.zeros(8, np.int32),
        np.zeros(8, np.float32),
        np.zeros(8, np.uint8),
        np.zeros(8, np.dtype(np.uint32).newbyteorder()),
        np.zeros((2, 4), np.uint32),
        np.zeros(16, np.uint32)[::2],
        read_only(),
    ],
    ids=["signed", "float", "bytes", "swapped", "matrix", "strided", "read-only"],
)
def test_totals_that_cannot_be_added_to_in_place_are_refused(total: np.ndarray) -> None:
    with pytest.raises(LocalError, match="expected"):
        ks.accumulate(total, [KEY])


def test_fill_wants_bytes() -> None:
    with pytest.raises(LocalError, match="uint8"):
        ks.fill(KEY, np.zeros(8, np.uint16))


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(LocalError, match="threads"):
        ks.accumulate(np.zeros(8, np.uint32), [KEY], threads=threads)


def test_a_big_endian_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(LocalError, match="little-endian"):
        ks.accumulate(np.zeros(8, np.uint32), [KEY])


def test_a_filler_gives_the_stream_of_its_key_segment_by_segment() -> None:
    entropy = Seeded("filler")
    fill_next = ks.random_filler(entropy)
    buffers = [np.empty(size, np.uint8) for size in (10, SEGMENT + 1, 0, SEGMENT, 3)]
    for buffer in buffers:
        fill_next(buffer)
    assert entropy.calls == [32]
    key = Seeded("filler")(32)
    for buffer, segment in zip(buffers, (0, 1, 3, 3, 4), strict=True):
        assert buffer.tobytes() == ks.keystream(key, segment * SEGMENT, buffer.nbytes)


def test_a_filler_draws_a_new_key_when_one_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ks, "STREAM_SEGMENTS", 2)
    entropy = Seeded("filler")
    fill_next = ks.random_filler(entropy)
    outputs = set()
    for _ in range(5):
        buffer = np.empty(32, np.uint8)
        fill_next(buffer)
        outputs.add(buffer.tobytes())
    assert entropy.calls == [32, 32, 32]
    assert len(outputs) == 5


def test_fillers_differ() -> None:
    first, second = np.empty(32, np.uint8), np.empty(32, np.uint8)
    entropy = Seeded("filler")
    ks.random_filler(entropy)(first)
    ks.random_filler(entropy)(second)
    assert (first != second).any()
