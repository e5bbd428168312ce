"""What a party needs from the place where its state lives: an atomic, durable test-and-set.

The once-only rules of the protocol are only as good as the store under them: two answers to one round number would reveal both secrets of
a party, or a two-time pad. So the core talks to a `PartyStore` through transactions, and a transaction either commits whole before the
reply leaves or leaves nothing behind. `MemoryStore` is the one for tests and benchmarks; `stfed.flower.store` is the durable one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Transaction(Protocol):
    """One run's record, locked against every other transaction on it. Commits when its block ends, unless by an exception."""

    def position(self) -> tuple[int, int]:
        """Highest epoch joined and highest round number used in this run; (0, 0) for a run that is not known.

        Readable even where the record is not: it is what keeps a party from using a number twice after its secrets are lost.
        """
        ...

    def read(self) -> bytes | None:
        """The record, or None for a run that is not known.

        Raises:
            StateLostError: there is one, but it cannot be read any more or is older than it should be.
        """
        ...

    def write(self, epoch: int, round_: int, record: bytes) -> None:
        """Replaces the record and the position."""
        ...

    def add_content(self, phase: int, digest: bytes) -> bool:
        """Remembers the hash of what a party worked on, across runs. False if it was there already."""
        ...


class PartyStore(Protocol):
    """Where a party's records live, one per run."""

    def transaction(self, run: int) -> AbstractContextManager[Transaction]:
        """Opens a transaction; a second one on the same store waits."""
        ...


@dataclass(slots=True)
class _MemoryRecord:
    epoch: int = 0
    round: int = 0
    record: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _MemoryTransaction:
    draft: _MemoryRecord
    known: frozenset[tuple[int, bytes]]
    added: set[tuple[int, bytes]] = field(default_factory=set)

    def position(self) -> tuple[int, int]:
        return self.draft.epoch, self.draft.round

    def read(self) -> bytes | None:
        return self.draft.record

    def write(self, epoch: int, round_: int, record: bytes) -> None:
        self.draft = _MemoryRecord(epoch, round_, record)

    def add_content(self, phase: int, digest: bytes) -> bool:
        if (phase, digest) in self.known | self.added:
            return False
        self.added.add((phase, digest))
        return True


class MemoryStore:
    """A store that lasts as long as its process."""

    def __init__(self) -> None:
        self._runs: dict[int, _MemoryRecord] = {}
        self._contents: frozenset[tuple[int, bytes]] = frozenset()
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self, run: int) -> Iterator[Transaction]:
        """See `PartyStore`."""
        with self._lock:
            transaction = _MemoryTransaction(self._runs.get(run, _MemoryRecord()), self._contents)
            yield transaction
            self._runs[run] = transaction.draft
            self._contents |= transaction.added
