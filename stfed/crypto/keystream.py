"""The pseudo-random generator behind every mask: AES-256 in counter mode, seekable, added in place segment by segment.

A key's stream is cut into segments of 512 KiB. Segment i is the AES-256-CTR keystream (NIST SP 800-38A) whose first counter block is the
number i in 12 big-endian bytes followed by 0x00000002; its counters end far below the next wrap, so no block is ever used twice. That
start is where AES-GCM (NIST SP 800-38D) begins to encrypt under the nonce i, hence the stream is also the GCM ciphertext of zeros, which
OpenSSL computes about twice as fast as plain CTR; the GCM tag is thrown away. `keystream` is the definition, written with CTR; `fill`,
`beginnings` and `accumulate` are the fast paths, written with GCM; the tests hold them together.

A key gives out at most 2^36 bytes = 2^32 blocks, where the best bound on telling AES from a random function is still 2^-65.
Stream words are little-endian.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, GCM
from numpy.typing import NDArray

from stfed.crypto.random import Entropy
from stfed.errors import LocalError
from stfed.threads import processors, share

KEY_BYTES = 32
SEGMENT_BYTES = 1 << 19
"""As long as a core's second-level cache allows with a sum of that size beside it: every call hands over the interpreter's lock, and two
threads that do so half as often lose half as much to it."""
STREAM_BYTES = 1 << 36
STREAM_SEGMENTS = STREAM_BYTES // SEGMENT_BYTES

Words: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]

_BLOCK_BYTES = 16
_FIRST_COUNTER = 2
_TAG_BYTES = 16
_ZEROS = memoryview(bytes(SEGMENT_BYTES))

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


def default_threads(work_bytes: int) -> int:
    """How many threads are worth starting for that much keystream: the processors at hand, up to four, or one."""
    return 1 if work_bytes < _THREADED_WORK_BYTES else min(_MAX_DEFAULT_THREADS, processors())


class Streams:
    """The streams of several keys, their ciphers set up once: what a vector is masked with, or what an unmasking takes off.

    Nothing in it changes, so threads may share one and work on disjoint arrays at the same time.

    Args:
        add: keys of 32 bytes each.
        subtract: keys of 32 bytes each.

    Raises:
        LocalError: a key of another size, or the machine is big-endian: the words would have to be swapped and no such machine was there to
            test that on.
    """

    def __init__(self, add: Sequence[bytes], subtract: Sequence[bytes] = ()) -> None:
        if sys.byteorder != "little":
            raise LocalError("keystream words are little-endian and this machine is not", hint="run this party on a little-endian machine")
        for key in (*add, *subtract):
            _check_key(key)
        self._steps = [(AESGCM(key).encrypt_into, np.add) for key in add] + [(AESGCM(key).encrypt_into, np.subtract) for key in subtract]

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._steps)

    def accumulate(self, total: Words, *, first_segment: int = 0, threads: int | None = None) -> None:
        """`total += sum of the streams of add - sum of the streams of subtract`, in place, modulo 2^(bits of a word).

        Segments are the outer loop and keys the inner one, so a segment of `total` is read and written in cache and no mask is ever longer
        than that. Threads work on disjoint segments; the result does not depend on how many there are.

        Args:
            total: unsigned words of 16, 32 or 64 bits in native order, one-dimensional, contiguous, writable.
            first_segment: the segment of every stream that `total` starts at.
            threads: how many to use at most; None for the processors at hand, up to four, and one where the work is small.

        Raises:
            LocalError: a wrong argument, or the streams are not that long.
        """
        _check_buffer(total, (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)))
        _check_range(first_segment * SEGMENT_BYTES, total.nbytes)
        segments = -(-total.nbytes // SEGMENT_BYTES)
        threads = min(default_threads(total.nbytes * len(self)) if threads is None else threads, max(segments, 1))
        if threads < 1:
            raise LocalError(f"threads must be at least 1, not {threads}")
        words = SEGMENT_BYTES // total.itemsize

        def worker() -> Callable[[int], None]:
            # Room for a segment of masks and the tag that comes with it.
            buffer = np.empty(min(SEGMENT_BYTES, total.nbytes) + _TAG_BYTES, np.uint8)

            def work(segment: int) -> None:
                part, nonce = total[segment * words : (segment + 1) * words], _nonce(first_segment + segment)
                masks, sealed, zeros = (
                    buffer[: part.nbytes].view(total.dtype),
                    buffer.data[: part.nbytes + _TAG_BYTES],
                    _ZEROS[: part.nbytes],
                )
                for encrypt_into, combine in self._steps:
                    encrypt_into(nonce, zeros, None, sealed)
                    combine(part, masks, out=part)

            return work

        share(range(segments), threads, worker)


def accumulate(
    total: Words, add: Sequence[bytes], subtract: Sequence[bytes] = (), *, threads: int | None = None, first_segment: int = 0
) -> None:
    """`Streams(add, subtract).accumulate(total, ...)`, for keys that are used once; arguments and errors as there."""
    Streams(add, subtract).accumulate(total, first_segment=first_segment, threads=threads)


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


def stream(key: bytes) -> Callable[[NDArray[np.uint8]], None]:
    """A function that fills each buffer it is given with what comes next in the stream of this key, from a new segment on.

    The same key fills the same buffers in the same way. A key for each use: `fill` with the same one would repeat what comes from here.

    Raises:
        LocalError: the stream is used up, after 2^32 segments.
    """
    segment = 0

    def fill_next(out: NDArray[np.uint8]) -> None:
        nonlocal segment
        fill(key, out, first_segment=segment)
        segment += -(-out.nbytes // SEGMENT_BYTES)

    return fill_next


def _nonce(segment: int) -> bytes:
    return segment.to_bytes(12, "big")


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
