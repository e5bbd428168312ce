"""The pseudo-random generator behind every mask: AES-256 in counter mode, seekable, added in place tile by tile.

A key's stream is cut into segments of 256 KiB. Segment i is the AES-256-CTR keystream (NIST SP 800-38A) whose first counter block is the
number i in 12 big-endian bytes followed by 0x00000002; its counters end far below the next wrap, so no block is ever used twice. That
start is where AES-GCM (NIST SP 800-38D) begins to encrypt under the nonce i, hence the stream is also the GCM ciphertext of zeros, which
OpenSSL computes about twice as fast as plain CTR; the GCM tag is thrown away. `keystream` is the definition, written with CTR; `fill`,
`beginnings` and `accumulate` are the fast paths, written with GCM; the tests hold them together.

A key gives out at most 2^36 bytes = 2^32 blocks, where the best bound on telling AES from a random function is still 2^-65.
Stream words are little-endian.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, GCM
from numpy.typing import NDArray

from stfed.crypto.random import Entropy
from stfed.errors import LocalError

KEY_BYTES = 32
SEGMENT_BYTES = 1 << 18
STREAM_BYTES = 1 << 36
STREAM_SEGMENTS = STREAM_BYTES // SEGMENT_BYTES

Words: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]

_BLOCK_BYTES = 16
_FIRST_COUNTER = 2
_TAG_BYTES = 16
_ZEROS = memoryview(bytes(SEGMENT_BYTES))

# One thread works segment by segment: 256 KiB of sum and 256 KiB of stream stay in the second-level cache. Several threads take up to
# four segments at a time: every call hands over the interpreter lock, and fewer, longer additions lose less to that than to the cache.
_THREADED_TILE_SEGMENTS = 4
_MAX_DEFAULT_THREADS = 4
# Below 32 MiB of keystream, two or three milliseconds, starting threads costs more than they save.
_THREADED_WORK_BYTES = 1 << 25


def keystream(key: bytes, offset_bytes: int, size_bytes: int) -> bytes:
    """Bytes `offset_bytes` to `offset_bytes + size_bytes` of the key's stream: the readable definition, for tests and small callers."""
    _check_key(key)
    _check_range(offset_bytes, size_bytes)
    pieces = []
    at, end = offset_bytes, offset_bytes + size_bytes
    while at < end:
        segment, inside = divmod(at, SEGMENT_BYTES)
        block, skip = divmod(inside, _BLOCK_BYTES)
        take = min(end - at, SEGMENT_BYTES - inside)
        counter_block = _nonce(segment) + (_FIRST_COUNTER + block).to_bytes(4, "big")
        pieces.append(Cipher(AES(key), CTR(counter_block)).encryptor().update(bytes(skip + take))[skip:])
        at += take
    return b"".join(pieces)


def fill(key: bytes, out: NDArray[np.uint8], *, first_segment: int = 0) -> None:
    """Overwrites `out` with the key's stream from the start of `first_segment` on.

    Args:
        key: 32 bytes.
        out: one-dimensional, contiguous, writable; any length.
        first_segment: where in the stream to start, in segments.

    Raises:
        LocalError: a wrong argument, or the stream is not that long.
    """
    _check_key(key)
    _check_buffer(out, (np.dtype(np.uint8),))
    _check_range(first_segment * SEGMENT_BYTES, out.nbytes)
    algorithm, view = AES(key), out.data
    for at in range(0, out.nbytes, SEGMENT_BYTES):
        piece = view[at : at + SEGMENT_BYTES]
        Cipher(algorithm, GCM(_nonce(first_segment + at // SEGMENT_BYTES))).encryptor().update_into(_ZEROS[: len(piece)], piece)


def beginnings(keys: Sequence[bytes], size_bytes: int, *, segment: int) -> NDArray[np.uint8]:
    """The first `size_bytes` of one segment of each key's stream: shape (keys, `size_bytes`), for short pieces of many streams.

    Raises:
        LocalError: a key of another size, or more than a segment has, or no such segment.
    """
    if not 0 <= size_bytes <= SEGMENT_BYTES:
        raise LocalError(f"a segment has {SEGMENT_BYTES} bytes, not {size_bytes}")
    _check_range(segment * SEGMENT_BYTES, size_bytes)
    # Room behind each piece for the tag that comes with it.
    sealed = np.empty((len(keys), size_bytes + _TAG_BYTES), np.uint8)
    nonce, zeros = _nonce(segment), _ZEROS[:size_bytes]
    for key, row in zip(keys, sealed, strict=True):
        _check_key(key)
        AESGCM(key).encrypt_into(nonce, zeros, None, row.data)
    return sealed[:, :size_bytes]


def accumulate(
    total: Words, add: Sequence[bytes], subtract: Sequence[bytes] = (), *, threads: int | None = None, first_segment: int = 0
) -> None:
    """`total += sum of the streams of add - sum of the streams of subtract`, in place, modulo 2^(bits of a word).

    Tiles are the outer loop and keys the inner one, so a tile of `total` is read and written in cache and no mask is ever longer than a
    tile. Threads work on disjoint tiles; the result does not depend on how many there are.

    Args:
        total: unsigned words of 16, 32 or 64 bits in native order, one-dimensional, contiguous, writable.
        add: keys of 32 bytes each.
        subtract: keys of 32 bytes each.
        threads: how many to use at most; None for the processors at hand, up to four, and one where the work is small.
        first_segment: the segment of every stream that `total` starts at.

    Raises:
        LocalError: a wrong argument, the streams are not that long, or the machine is big-endian: the words would have to be swapped and
            no such machine was there to test that on.
    """
    if sys.byteorder != "little":
        raise LocalError("keystream words are little-endian and this machine is not", hint="run this party on a little-endian machine")
    _check_buffer(total, (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)))
    _check_range(first_segment * SEGMENT_BYTES, total.nbytes)
    for key in (*add, *subtract):
        _check_key(key)
    steps = [(AESGCM(key).encrypt_into, np.add) for key in add] + [(AESGCM(key).encrypt_into, np.subtract) for key in subtract]

    segments = -(-total.nbytes // SEGMENT_BYTES)
    threads = min(_default_threads(total.nbytes * len(steps)) if threads is None else threads, max(segments, 1))
    if threads < 1:
        raise LocalError(f"threads must be at least 1, not {threads}")
    tile_segments = 1 if threads == 1 else _THREADED_TILE_SEGMENTS
    # As many tiles for every thread, and those as equal as whole segments allow.
    count = threads * -(-segments // (threads * tile_segments))
    tiles = deque((segments * i // count, segments * (i + 1) // count) for i in range(count))
    words_per_segment = SEGMENT_BYTES // total.itemsize

    def work() -> None:
        # Each encryption leaves its tag behind it, where the next segment's stream overwrites it; only the last one needs room of its own.
        buffer = np.empty(tile_segments * SEGMENT_BYTES + _TAG_BYTES, np.uint8)
        view, words = buffer.data, buffer[:-_TAG_BYTES].view(total.dtype)
        while True:
            try:
                start, stop = tiles.popleft()
            except IndexError:
                return
            tile = total[start * words_per_segment : stop * words_per_segment]
            masks = words[: tile.size]
            calls = []
            for at in range(0, tile.nbytes, SEGMENT_BYTES):
                size_bytes = min(SEGMENT_BYTES, tile.nbytes - at)
                nonce = _nonce(first_segment + start + at // SEGMENT_BYTES)
                calls.append((nonce, _ZEROS[:size_bytes], view[at : at + size_bytes + _TAG_BYTES]))
            for encrypt_into, combine in steps:
                for nonce, zeros, out in calls:
                    encrypt_into(nonce, zeros, None, out)
                combine(tile, masks, out=tile)

    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def random_filler(entropy: Entropy) -> Callable[[NDArray[np.uint8]], None]:
    """A function that fills each buffer it is given with fresh pseudo-random bytes, tens of times faster than the operating system's.

    The stream runs under a key of its own drawn from `entropy`, every buffer starts at a new segment, and a key that is used up is
    replaced. For one thread of one process: a copy of the filler, by fork or pickle, would repeat the stream.
    """
    key, segment = entropy(KEY_BYTES), 0

    def fill_next(out: NDArray[np.uint8]) -> None:
        nonlocal key, segment
        needed = -(-out.nbytes // SEGMENT_BYTES)
        if segment + needed > STREAM_SEGMENTS:
            key, segment = entropy(KEY_BYTES), 0
        fill(key, out, first_segment=segment)
        segment += needed

    return fill_next


def _nonce(segment: int) -> bytes:
    return segment.to_bytes(12, "big")


def _default_threads(work_bytes: int) -> int:
    if work_bytes < _THREADED_WORK_BYTES:
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MAX_DEFAULT_THREADS, processors)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise LocalError(f"a keystream key has {KEY_BYTES} bytes, not {len(key)}")


def _check_range(offset_bytes: int, size_bytes: int) -> None:
    if offset_bytes < 0 or size_bytes < 0 or offset_bytes + size_bytes > STREAM_BYTES:
        raise LocalError(
            f"bytes {offset_bytes} to {offset_bytes + size_bytes} are not inside the {STREAM_BYTES} bytes that one key may give out",
            hint="derive one key for each vector",
        )


def _check_buffer(array: Words | NDArray[np.uint8], dtypes: tuple[np.dtype[np.unsignedinteger], ...]) -> None:
    if array.dtype not in dtypes:
        raise LocalError(f"expected an array of {' or '.join(str(dtype) for dtype in dtypes)}, not of {array.dtype}")
    if array.ndim != 1 or not array.flags.c_contiguous or not array.flags.writeable:
        raise LocalError("expected a one-dimensional, contiguous, writable array")
