"""Thousands of parties in one process: what all of their records have in common is kept once, and not in every store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stfed.secagg.store import MemoryStore, Transaction


class Common:
    """What the records of all parties have in common.

    Attributes:
        parts: the directory, the cohort, U1.
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def cut(self, record: bytes) -> tuple[bytes | int, ...]:
        """The record with the number of a part in the place of each. One part of 10,000 parties is a megabyte, and every record has it."""
        pieces: list[bytes | int] = [record]
        for number, part in enumerate(self.parts):
            pieces = [new for piece in pieces for new in (_without(piece, part, number) if isinstance(piece, bytes) else (piece,))]
        return tuple(pieces)

    def whole(self, pieces: tuple[bytes | int, ...]) -> bytes:
        """The inverse of `cut`."""
        return b"".join(self.parts[piece] if isinstance(piece, int) else piece for piece in pieces)


def _without(piece: bytes, part: bytes, number: int) -> Iterator[bytes | int]:
    begin = part[:64]
    at = piece.find(begin) if begin else -1
    while at >= 0 and not piece.startswith(part, at):
        at = piece.find(begin, at + 1)
    if at < 0:
        yield piece
        return
    yield piece[:at]
    yield number
    yield from _without(piece[at + len(part) :], part, number)


class SharingStore:
    """A `MemoryStore` that keeps what all parties have in common once."""

    def __init__(self, common: Common) -> None:
        self._store, self._common = MemoryStore(), common
        self._pieces: tuple[bytes | int, ...] | None = None

    @contextmanager
    def transaction(self, run: int) -> Iterator[Transaction]:
        """See `PartyStore`; for one run."""
        with self._store.transaction(run) as inside:
            whole = None if self._pieces is None else self._common.whole(self._pieces)
            yield (mine := _SharingTransaction(inside, whole))
            if mine.written is not None:
                self._pieces = self._common.cut(mine.written)


class _SharingTransaction:
    def __init__(self, inside: Transaction, record: bytes | None) -> None:
        self._inside, self._record = inside, record
        self.written: bytes | None = None

    def position(self) -> tuple[int, int]:
        return self._inside.position()

    def read(self) -> bytes | None:
        return self._record if self.written is None else self.written

    def write(self, epoch: int, round_: int, record: bytes) -> None:
        self._inside.write(epoch, round_, b"")
        self.written = record

    def add_content(self, phase: int, digest: bytes) -> bool:
        return self._inside.add_content(phase, digest)
