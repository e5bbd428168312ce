"""How a byte string is cut into segments: arithmetic alone.

The cut is canonical: every segment but the last is full, and the last is never empty unless the whole is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from stfed.errors import MalformedError
from stfed.sealed.floe import HEADER_BYTES, OVERHEAD_BYTES


@dataclass(frozen=True)
class Geometry:
    """How `plain_bytes` bytes lie in segments of `segment_bytes`."""

    plain_bytes: int
    segment_bytes: int

    @classmethod
    def of_payload(cls, payload_bytes: int, segment_bytes: int) -> Self:
        """The only cut that gives a payload of this length; MalformedError if none does."""
        body = payload_bytes - HEADER_BYTES
        count = max(1, -(-body // segment_bytes))
        geometry = cls(body - count * OVERHEAD_BYTES, segment_bytes)
        if geometry.plain_bytes < 0 or geometry.count != count:
            raise MalformedError(f"no payload is {payload_bytes} bytes long")
        return geometry

    @property
    def chunk_bytes(self) -> int:
        """Plaintext bytes of a full segment."""
        return self.segment_bytes - OVERHEAD_BYTES

    @property
    def count(self) -> int:
        """Number of segments, at least one."""
        return max(1, -(-self.plain_bytes // self.chunk_bytes))

    @property
    def payload_bytes(self) -> int:
        """Length of the FLOE message."""
        return HEADER_BYTES + self.plain_bytes + self.count * OVERHEAD_BYTES

    def is_last(self, position: int) -> bool:
        """Whether the segment at `position` ends the message."""
        return position == self.count - 1

    def span(self, position: int) -> tuple[int, int]:
        """Where the segment's plaintext begins and ends in the whole."""
        start = position * self.chunk_bytes
        return start, min(start + self.chunk_bytes, self.plain_bytes)

    def sealed_bytes(self, position: int) -> int:
        """Length of the segment, its overhead included."""
        start, stop = self.span(position)
        return stop - start + OVERHEAD_BYTES

    def offset(self, position: int) -> int:
        """Where the segment begins in the payload."""
        return HEADER_BYTES + position * self.segment_bytes
