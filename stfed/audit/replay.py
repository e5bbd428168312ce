"""Reading a whole log again, as somebody who trusts nothing in it but its keys.

The tree is computed anew from the entries and compared with every stored hash, and at every size of which there is a checkpoint with that
checkpoint. Memory stays flat, and writers are held up for one batch at a time: what is there when it starts is what is verified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from stfed.audit import merkle, tables
from stfed.audit.checkpoint import SignedCheckpoint
from stfed.audit.database import Database
from stfed.audit.errors import TamperedLogError, UntrustedError
from stfed.audit.events import Entry, Kind
from stfed.audit.signatures import VerifierKey, keys
from stfed.errors import MalformedError, shown

_BATCH = 500

Progress = Callable[[int, int], None]
"""Called with the number of entries read so far and their total."""


@dataclass(frozen=True)
class Report:
    """What was verified; there is no report of a log that fails.

    Attributes:
        origin: the log's name.
        size: number of entries.
        root: their Merkle root.
        checkpoints: how many checkpoints the file has, all of them heads of this history.
        covered: size of the largest checkpoint, in the file or known to the caller: entries from here on nobody has signed yet.
        signed: whether the signatures were verified, because keys were given.
        kinds: how many entries there are of each kind.
        first: time of the first entry.
        last: time of the last one.
    """

    origin: str
    size: int
    root: bytes
    checkpoints: int
    covered: int
    signed: bool
    kinds: Mapping[Kind, int]
    first: datetime | None
    last: datetime | None


class _Tree:
    """The tree so far: of each level only the newest full hash, which is all that growing it, or its root, ever asks for."""

    def __init__(self) -> None:
        self.size = 0
        self._newest: dict[int, bytes] = {}

    def _read(self, level: int, _position: int) -> bytes:
        return self._newest[level]

    def add(self, entry: bytes) -> list[bytes]:
        """The hashes that this entry adds to the store."""
        added = merkle.completed(merkle.leaf_hash(entry), self.size, self._read)
        self._newest.update(enumerate(added))
        self.size += 1
        return added

    @property
    def root(self) -> bytes:
        return merkle.root(self.size, self._read)


def replay(
    database: Database, known: Sequence[SignedCheckpoint], trusted: Iterable[VerifierKey | str], progress: Progress | None
) -> Report:
    """Verifies a log; see `AuditLog.verify`."""
    with database.reading() as connection:
        (intact,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if intact != "ok":
            raise TamperedLogError(f"the file of the log is damaged: {intact}")
        bounds = [connection.execute(f"SELECT min(position), max(position) FROM {table}").fetchone() for table in ("entries", "hashes")]  # noqa: S608
        stored = tables.notes(connection)
    size, hash_count = (0 if last is None else last + 1 for _, last in bounds)
    heads = sorted((*_parsed(stored), *known), key=lambda head: head.size)
    signed = _check_signed(heads, database.origin, keys(trusted))

    tree, kinds, good = _Tree(), Counter[Kind](), 0
    times: list[datetime] = []
    for start in range(0, size, _BATCH):
        stop = min(start + _BATCH, size)
        with database.reading() as connection:
            rows, hashes = tables.batch(start, stop, connection), tables.hashes(start, stop, connection)
        for index, data in enumerate(rows, start):
            entry = _entry(index, data)
            _check_hashes(index, tree.add(data), hashes)
            good = _check_heads(tree, [head for head in heads if head.size == tree.size], good)
            kinds[entry.event.kind] += 1
            times = [*times[:1], entry.time]
        if progress is not None:
            progress(stop, size)

    if heads and heads[-1].size > size:
        raise TamperedLogError(
            f"the log has {size} entries, and a checkpoint says that it had {heads[-1].size}: it was cut off, or is an older copy",
            index=size,
        )
    if any(first not in (None, 0) for first, _ in bounds):
        raise TamperedLogError("the log has rows that belong to no entry")
    if hash_count != merkle.stored_count(size):
        raise TamperedLogError("the log has hashes of entries that it has not", index=size)
    covered = heads[-1].size if heads else 0
    first, last = (times[0], times[-1]) if times else (None, None)
    return Report(database.origin, size, tree.root, len(stored), covered, signed, dict(kinds), first, last)


def _parsed(notes: Iterable[str]) -> list[SignedCheckpoint]:
    try:
        return list(map(SignedCheckpoint.parse, notes))
    except MalformedError as error:
        raise TamperedLogError(f"a checkpoint in the log is none: {error.message}") from None


def _check_signed(heads: Sequence[SignedCheckpoint], origin: str, trusted: tuple[VerifierKey, ...]) -> bool:
    """All heads are of this log and, if there are keys to tell, signed by it; two of one size are one. Returns whether there are keys."""
    for head in heads:
        if head.origin != origin:
            raise UntrustedError(f"a checkpoint is of the log {shown(head.origin)}, not of {shown(origin)}")
        if trusted:
            head.verify(trusted, origin=origin)
    if trusted:
        for one, other in pairwise(heads):
            one.check_same_history(other)
    return bool(trusted)


def _entry(index: int, data: bytes) -> Entry:
    try:
        return Entry.parse(index, data)
    except MalformedError as error:
        raise TamperedLogError(error.message, index=index) from None


def _check_hashes(index: int, computed: Sequence[bytes], stored: Mapping[int, bytes]) -> None:
    for level, value in enumerate(computed):
        if stored.get(merkle.stored_count(index) + level) != value:
            what = "is not what was appended, or its" if not level else f"or one of the {1 << level} that end with it was changed, or their"
            raise TamperedLogError(f"entry {index} {what} stored hash was changed", index=index)


def _check_heads(tree: _Tree, heads: Sequence[SignedCheckpoint], good: int) -> int:
    """The size up to which the log is what its checkpoints say."""
    for head in heads:
        if head.root != tree.root:
            raise TamperedLogError(
                f"the entries {good} to {head.size - 1} are not those of the checkpoint of {head.size}: history was rewritten", index=good
            )
    return tree.size if heads else good
