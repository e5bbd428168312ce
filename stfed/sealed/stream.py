"""The payload: a byte string sealed segment by segment under FLOE, by several threads, and read at any place.

`SegmentSealer` seals each position exactly once. `Payload` reads any range, decrypting only the segments that it touches, straight into the
caller's memory where a segment lies wholly inside the range. It knows the number of segments before it reads the first, from a length that
is bound into FLOE's header tag: a payload that was cut off is refused, not read short.

Nothing that failed to verify is left in memory that the caller sees: the whole destination is zeroed before the error is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from stfed.crypto.random import Entropy
from stfed.errors import MalformedError
from stfed.files import Readable, Writable
from stfed.sealed.digests import Digests
from stfed.sealed.floe import OVERHEAD_BYTES, SEGMENT_IV_BYTES, Floe
from stfed.sealed.geometry import Geometry
from stfed.sealed.parallel import buffer, each, pipe, thread_count, wipe

Progress = Callable[[int], object]
"""Called with the number of plaintext bytes just done, from any thread."""
Piece = Callable[[int, int, memoryview], memoryview]
"""`Source.piece`: bytes `start` to `stop`, as a view of existing memory or `scratch` filled with them."""


class Source(Protocol):
    """Plaintext to be sealed, asked for piece by piece."""

    @property
    def size_bytes(self) -> int:
        """How much there is."""
        ...

    def piece(self, start: int, stop: int, scratch: memoryview) -> memoryview:
        """Bytes `start` to `stop`: a view of existing memory, or `scratch` filled with them."""
        ...


class SegmentSealer:
    """Seals the segments of one FLOE message into their places, each once and in order of their ivs, by several threads.

    Args:
        floe: freshly started for this message and used for nothing else.
        plain_bytes: length of the plaintext.
        target: has room for `Geometry.payload_bytes`.
        offset: where the message begins.
        entropy: gives the segments' ivs, in order of position.
        digests: hears of every segment, if there are any.
    """

    def __init__(
        self, floe: Floe, plain_bytes: int, target: Writable, offset: int, *, entropy: Entropy, digests: Digests | None = None
    ) -> None:
        self._floe, self._target, self._offset = floe, target, offset
        self._entropy, self._digests = entropy, digests
        self._next = 0
        self.geometry: Geometry = Geometry(plain_bytes, floe.parameters.segment_bytes)
        target.write_at(offset, floe.header)

    @property
    def complete(self) -> bool:
        """Whether every segment was sealed."""
        return self._next == self.geometry.count

    def seal(self, stop: int, piece: Piece, progress: Progress | None = None) -> None:
        """Seals the segments from where the last call stopped up to position `stop`. Memory: two segments a thread."""
        tasks = ((position, self._entropy(SEGMENT_IV_BYTES)) for position in range(self._next, stop))
        threads = thread_count(stop - self._next)
        self._next = stop

        def put(task: tuple[int, bytes], out: memoryview) -> None:
            self._target.write_at(self._offset + self.geometry.offset(task[0]), out)
            if progress is not None:
                progress(len(out) - OVERHEAD_BYTES)

        if threads > 1 and not self._hashes_slowly:
            pipe(tasks, self._sealer(piece), put, self.geometry.segment_bytes)
            return

        def worker() -> Callable[[tuple[int, bytes]], None]:
            seal, room = self._sealer(piece), buffer(self.geometry.segment_bytes)
            return lambda task: put(task, seal(task, room))

        each(tasks, worker, threads)

    def _sealer(self, piece: Piece) -> Callable[[tuple[int, bytes], memoryview], memoryview]:
        """A function that seals a segment into given memory and hashes it while it is in the cache."""
        plain = buffer(self.geometry.chunk_bytes)

        def seal(task: tuple[int, bytes], room: memoryview) -> memoryview:
            position, iv = task
            begin, end = self.geometry.span(position)
            out = room[: end - begin + OVERHEAD_BYTES]
            self._floe.seal_segment(position, self.geometry.is_last(position), piece(begin, end, plain[: end - begin]), iv, out)
            if self._digests is not None:
                self._digests.note(position, out)
            return out

        return seal

    @property
    def _hashes_slowly(self) -> bool:
        """Whether hashing takes longer than writing; then it wants every core."""
        return self._digests is not None and self._digests.slow


class Payload:
    """A FLOE message that can be read at any place. Holds key material and one decrypted segment; `close` drops both.

    Args:
        source: what the message lies in.
        offset: where it begins.
        geometry: its cut, from an authenticated length.
        floe: started for decryption with the message's header.
        digests: the signed ones, which every segment is held against first.

    Attributes:
        segments_opened: how many segments have been decrypted so far.
    """

    def __init__(self, source: Readable, offset: int, geometry: Geometry, floe: Floe, digests: Digests | None = None) -> None:
        self._source = source
        self._offset = offset
        self._geometry = geometry
        self._floe = floe
        self._digests = digests
        self._lock = threading.Lock()
        self._kept: tuple[int, memoryview] | None = None
        self.segments_opened: int = 0

    @property
    def size_bytes(self) -> int:
        """Length of the plaintext."""
        return self._geometry.plain_bytes

    def read(self, start: int, stop: int) -> bytes:
        """Plaintext bytes `start` to `stop`, for short pieces."""
        out = bytearray(stop - start)
        self.read_into(start, memoryview(out))
        return bytes(out)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fills `out` with plaintext from `start` on.

        Raises:
            TamperedError, MalformedError: if any segment touched does not verify; `out` is zeros then.
        """
        stop = start + len(out)
        if not 0 <= start <= stop <= self.size_bytes:
            raise MalformedError(f"bytes {start} to {stop} are outside the {self.size_bytes} bytes of content")
        if not len(out):
            return
        first, last = start // self._geometry.chunk_bytes, (stop - 1) // self._geometry.chunk_bytes
        kept = self._kept
        if kept is not None and kept[0] == first == last:  # a small tensor after its neighbour: nothing left to decrypt
            low = self._geometry.span(first)[0]
            out[:] = kept[1][start - low : stop - low]
            return
        try:
            whole = []
            for position in range(first, last + 1):
                begin, end = self._geometry.span(position)
                if start <= begin and end <= stop:
                    whole.append(position)
                else:  # the first and the last at most
                    low, high = max(begin, start), min(end, stop)
                    out[low - start : high - start] = self._segment(position)[low - begin : high - begin]
            if whole:
                each(iter(whole), lambda: self._opener(lambda low, high: out[low - start : high - start], None), thread_count(len(whole)))
        except BaseException:
            wipe(out)
            raise

    def copy_to(self, target: Writable, progress: Progress | None = None) -> None:
        """Writes the whole plaintext to `target`. Memory: two segments a thread."""
        plain = threading.local()

        def room(low: int, high: int) -> memoryview:
            if not hasattr(plain, "view"):
                plain.view = buffer(self._geometry.chunk_bytes)
            view: memoryview = plain.view[: high - low]
            return view

        def done(low: int, view: memoryview) -> None:
            target.write_at(low, view)
            if progress is not None:
                progress(len(view))

        count = self._geometry.count
        each(iter(range(count)), lambda: self._opener(room, done), thread_count(count))

    def close(self) -> None:
        """Forgets the kept plaintext."""
        if self._kept is not None:
            wipe(self._kept[1])
            self._kept = None

    def _opener(self, room: Callable[[int, int], memoryview], done: Callable[[int, memoryview], None] | None) -> Callable[[int], None]:
        """A function that opens segments: ciphertext is copied to private memory once, then verified and decrypted from there."""
        sealed = buffer(self._geometry.segment_bytes)

        def open_one(position: int) -> None:
            low, high = self._geometry.span(position)
            out = room(low, high)
            segment = sealed[: high - low + OVERHEAD_BYTES]
            self._source.read_into(self._offset + self._geometry.offset(position), segment)
            if self._digests is not None:
                self._digests.check(position, segment)
            self._floe.open_segment(position, self._geometry.is_last(position), segment, out)
            with self._lock:
                self.segments_opened += 1
            if done is not None:
                done(low, out)

        return open_one

    def _segment(self, position: int) -> memoryview:
        """One whole segment's plaintext. The last one is kept: small tensors share segments and are read one after the other."""
        kept = self._kept
        if kept is None or kept[0] != position:
            low, high = self._geometry.span(position)
            plain = buffer(high - low)
            self._opener(lambda _low, _high: plain, None)(position)
            kept = self._kept = (position, plain)
        return kept[1]
