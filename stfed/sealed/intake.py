"""From bytes that come one after the other to segments: what a streaming writer holds, and when it seals it."""

from __future__ import annotations

from stfed.errors import LocalError
from stfed.sealed.parallel import buffer
from stfed.sealed.stream import Progress, SegmentSealer

BATCH_SEGMENTS = 16
"""So many are gathered before threads are started on them; what is larger is sealed from where it lies."""


class Intake:
    """Bytes in, in order; segments out, as soon as there are enough for the threads.

    Args:
        sealer: of the message, with nothing sealed yet.
        plain_bytes: how many bytes will come.
        progress: hears of every segment.
    """

    def __init__(self, sealer: SegmentSealer, plain_bytes: int, progress: Progress | None) -> None:
        self._sealer, self._plain_bytes, self._progress = sealer, plain_bytes, progress
        self._chunk_bytes = sealer.geometry.chunk_bytes
        self._held = buffer(min(BATCH_SEGMENTS * self._chunk_bytes, plain_bytes))
        self._held_bytes = 0
        self._sealed = 0  # segments
        self._failed = False

    def take(self, data: memoryview) -> None:
        """The next bytes. Those that do not fill a segment are copied, the others sealed from where they lie.

        Raises:
            LocalError: after a failure. Segments that were given up then would be holes in the file, should somebody go on all the same.
        """
        if self._failed:
            raise LocalError("an earlier write failed: the file cannot be finished", hint="write it anew")
        if not data:
            return
        start = self._sealed * self._chunk_bytes
        have = self._held_bytes + len(data)
        ended = start + have == self._plain_bytes
        if have < len(self._held) and not ended:
            self._hold(data)
            return
        count = self._sealer.geometry.count if ended else self._sealed + have // self._chunk_bytes
        held = self._held[: self._held_bytes]

        def piece(begin: int, end: int, scratch: memoryview) -> memoryview:
            low, high = begin - start, end - start
            if high <= len(held):
                return held[low:high]
            if low >= len(held):
                return data[low - len(held) : high - len(held)]
            scratch[: len(held) - low] = held[low:]
            scratch[len(held) - low :] = data[: high - len(held)]
            return scratch

        self._failed = True
        self._sealer.seal(count, piece, self._progress)
        self._failed = False
        left = 0 if ended else start + have - count * self._chunk_bytes
        self._sealed, self._held_bytes = count, 0
        self._hold(data[len(data) - left :])

    def _hold(self, data: memoryview) -> None:
        self._held[self._held_bytes : self._held_bytes + len(data)] = data
        self._held_bytes += len(data)
