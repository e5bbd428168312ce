"""What a key service must not forget when it is killed: which nonces are out, and how much each caller has had. SQLite, several processes.

A nonce is a row from when it is given out until it is used; using it deletes the row, so it works once in the life of the file, in
whichever process and after whatever crash. Allowances are token buckets of requests or bytes: each holds a minute's worth and fills evenly.

Rollback journal and `synchronous=FULL`, for the reasons in `stfed.audit.database`: what was burned stays burned after a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stfed import sqlschema
from stfed.errors import LocalError
from stfed.files import check_private

_APPLICATION_ID = 0x73744B73  # "stKs"
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE nonces (nonce BLOB PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX nonces_by_time ON nonces (expires)",
    "CREATE TABLE buckets (name TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL, full_at REAL NOT NULL, dry INTEGER NOT NULL) "
    "WITHOUT ROWID",
    "CREATE INDEX buckets_by_time ON buckets (full_at)",
)


@dataclass(frozen=True)
class Allowance:
    """A token bucket that a request takes tokens from.

    Attributes:
        name: whose.
        per_minute: how many tokens it holds, and gets in a minute.
        cost: how many the request takes; what costs more than all takes all.
    """

    name: str
    per_minute: int
    cost: int = 1


@dataclass(frozen=True)
class Dry:
    """An allowance is used up.

    Attributes:
        name: which.
        first: whether this is the first refusal since it last gave tokens; the others need no entry in a log of their own.
    """

    name: str
    first: bool


class Store:
    """One connection to the file, for all threads of this process. Times are seconds since 1970 and come from the caller.

    Args:
        path: the file, made with mode 0600 if there is none; its folder must exist.
        timeout_s: how long to wait for another process.

    Raises:
        LocalError: if it cannot be used, is another file, has other tables or triggers than this class makes, or if somebody else may
            change or replace it (`stfed.files.check_private`). All methods raise it likewise.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 10.0) -> None:
        self.path: Path = Path(path)
        self._lock = threading.Lock()
        with self._explained():
            check_private(self.path, database=True)
            if not self.path.exists():
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = self._identity()
            uri = f"file:{quote(str(self.path.absolute()))}?mode=rw"
            self._connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)
            try:
                for pragma in ("trusted_schema=OFF", "journal_mode=TRUNCATE", "synchronous=FULL"):
                    self._connection.execute(f"PRAGMA {pragma}")
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        with self._transaction(made=False) as connection:
            (application,), (version,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
            if (application, version) == (0, 0) and sqlschema.is_exactly(connection, ()):
                for statement in (*_SCHEMA, f"PRAGMA application_id={_APPLICATION_ID}", f"PRAGMA user_version={_VERSION}"):
                    connection.execute(statement)
            elif (application, version) != (_APPLICATION_ID, _VERSION):
                raise LocalError(f"{self.path} is no database of this release's key service", hint="name another file; it will be made")
            self._check_tables(connection)

    def _check_tables(self, connection: sqlite3.Connection) -> None:
        """LocalError if there is a table, index or trigger too many, too few or changed: a trigger could bring used nonces back."""
        if not sqlschema.is_exactly(connection, _SCHEMA):
            raise LocalError(
                f"the tables or triggers of the key service's database {self.path} were changed",
                hint="find out by whom; the service makes a new one if you remove it",
            )

    def issue(self, nonce: bytes, *, now: float, expires: float, at_most: int) -> bool:
        """Remembers a nonce until `expires`; False, and not, if `at_most` are out already."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM nonces WHERE expires < ?", (now,))
            (count,) = connection.execute("SELECT count(*) FROM nonces").fetchone()
            if count >= at_most:
                return False
            connection.execute("INSERT INTO nonces VALUES (?, ?)", (nonce, expires))
        return True

    def burn(self, nonce: bytes, *, now: float) -> bool:
        """Whether the nonce was given out, has not expired, and was not used before. It is used now, on the disk, when this returns."""
        with self._transaction() as connection:
            row = connection.execute("SELECT expires FROM nonces WHERE nonce = ?", (nonce,)).fetchone()
            connection.execute("DELETE FROM nonces WHERE nonce = ?", (nonce,))
        return row is not None and now <= row[0]

    def take(self, allowances: Sequence[Allowance], *, now: float) -> Dry | None:
        """The cost from each; or from none, and the first that has not enough."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM buckets WHERE full_at < ?", (now,))  # a full bucket is as good as none
            rows: list[tuple[str, float, float, float, bool]] = []
            for allowance in allowances:
                tokens, dry = self._level(allowance, now, connection)
                left = tokens - min(allowance.cost, allowance.per_minute)
                if left < 0:
                    row = (allowance.name, tokens, now, _full_at(allowance, tokens, now), True)
                    connection.execute("REPLACE INTO buckets VALUES (?, ?, ?, ?, ?)", row)
                    return Dry(allowance.name, not dry)
                rows.append((allowance.name, left, now, _full_at(allowance, left, now), False))
            connection.executemany("REPLACE INTO buckets VALUES (?, ?, ?, ?, ?)", rows)
        return None

    @staticmethod
    def _level(allowance: Allowance, now: float, connection: sqlite3.Connection) -> tuple[float, bool]:
        row = connection.execute("SELECT tokens, at, dry FROM buckets WHERE name = ?", (allowance.name,)).fetchone()
        if row is None:
            return float(allowance.per_minute), False
        tokens, at, dry = row
        since = max(0.0, now - at)  # a clock that is set back fills nothing
        return min(float(allowance.per_minute), tokens + since * allowance.per_minute / 60), bool(dry)

    def close(self) -> None:
        """Gives the file back."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, *, made: bool = True) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained():
            check_private(self.path, database=True)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self._identity() != self._file:
                    raise LocalError(f"the key service's database {self.path} was replaced by another file while it was open")
                if made:
                    self._check_tables(self._connection)
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _identity(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LocalError(
                f"the key service's database {self.path} cannot be used: {error}", hint="check the file, its folder, the disk"
            ) from error


def _full_at(allowance: Allowance, tokens: float, now: float) -> float:
    return now + (allowance.per_minute - tokens) * 60 / allowance.per_minute
