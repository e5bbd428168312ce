"""What the rows of a log's file say, read inside one transaction of `stfed.audit.database`."""

from __future__ import annotations

import sqlite3

from stfed.audit import merkle
from stfed.audit.checkpoint import SignedCheckpoint
from stfed.audit.errors import TamperedLogError
from stfed.errors import LocalError, MalformedError


def reader(connection: sqlite3.Connection) -> merkle.HashReader:
    """The stored hashes, by level and position."""

    def read(level: int, position: int) -> bytes:
        row = connection.execute("SELECT hash FROM hashes WHERE position = ?", (merkle.stored_index(level, position),)).fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != merkle.HASH_BYTES:
            index = position << level
            raise TamperedLogError(f"the hash over the entries from {index} on is missing or none", index=index)
        return row[0]

    return read


def size(connection: sqlite3.Connection) -> int:
    """Number of entries.

    Raises:
        TamperedLogError: if the ends of the tables do not go together: rows were deleted or added by somebody else. What lies before the
            ends is not read; `replay` does.
    """
    query = "SELECT (SELECT max(position) FROM entries), (SELECT max(position) FROM hashes), (SELECT max(size) FROM checkpoints)"
    last_entry, last_hash, signed = connection.execute(query).fetchone()
    count = 0 if last_entry is None else last_entry + 1
    hashes = 0 if last_hash is None else last_hash + 1
    if hashes != merkle.stored_count(count):
        raise TamperedLogError(f"the log has {count} entries and {hashes} hashes, which do not go together", hint="verify the log")
    if signed is not None and signed > count:
        raise TamperedLogError(f"the log has {count} entries and a checkpoint over {signed}: it was cut off", index=count)
    return count


def size_at(wanted: int | None, connection: sqlite3.Connection) -> int:
    """`wanted`, or all if None; LocalError if there are not that many entries."""
    count = size(connection)
    if wanted is not None and not 0 <= wanted <= count:
        raise LocalError(f"the log has {count} entries, not {wanted}")
    return count if wanted is None else wanted


def data(index: int, connection: sqlite3.Connection) -> bytes:
    """The bytes of one entry; LocalError if the log is shorter."""
    count = size(connection)
    if not 0 <= index < count:
        raise LocalError(f"the log has {count} entries and none of number {index}")
    return batch(index, index + 1, connection)[0]


def batch(start: int, stop: int, connection: sqlite3.Connection) -> list[bytes]:
    """The bytes of the entries from `start` up to `stop`; TamperedLogError if one is missing."""
    query = "SELECT position, data FROM entries WHERE position >= ? AND position < ? ORDER BY position"
    found = dict(connection.execute(query, (start, stop)))
    for index in range(start, stop):
        if not isinstance(found.get(index), bytes):
            raise TamperedLogError(f"entry {index} is missing", index=index)
    return [found[index] for index in range(start, stop)]


def hashes(start: int, stop: int, connection: sqlite3.Connection) -> dict[int, bytes]:
    """The hashes that were stored with the entries from `start` up to `stop`, by their place in the order of storing."""
    query = "SELECT position, hash FROM hashes WHERE position >= ? AND position < ?"
    return dict(connection.execute(query, (merkle.stored_count(start), merkle.stored_count(stop))))


def notes(connection: sqlite3.Connection) -> list[str]:
    """All checkpoints, smallest first; of one size those with fewer signatures first."""
    return [note for (note,) in connection.execute("SELECT note FROM checkpoints ORDER BY size, length(note), note")]


def newest(connection: sqlite3.Connection) -> SignedCheckpoint | None:
    """The largest checkpoint, with all signatures that any row has for its text; None if there is none."""
    query = "SELECT note FROM checkpoints WHERE size = (SELECT max(size) FROM checkpoints) ORDER BY length(note), note"
    merged: SignedCheckpoint | None = None
    for (note,) in connection.execute(query):
        try:
            found = SignedCheckpoint.parse(note)
        except MalformedError as error:
            raise TamperedLogError(f"a checkpoint in the log is none: {error.message}") from None
        if merged is not None and merged.checkpoint != found.checkpoint:
            raise TamperedLogError(f"two checkpoints of {found.size} entries in the log differ")
        merged = found if merged is None else SignedCheckpoint(found.checkpoint, merged.note.signed(*found.note.signatures))
    return merged


def keep(signed: SignedCheckpoint, connection: sqlite3.Connection) -> None:
    """Adds a checkpoint, unless it is there."""
    connection.execute("INSERT INTO checkpoints VALUES (?, ?) ON CONFLICT DO NOTHING", (signed.size, str(signed)))
