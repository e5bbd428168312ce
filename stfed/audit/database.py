"""The SQLite file that holds a log, and what can go wrong with it, said plainly.

Four tables, to which rows are only ever added (triggers refuse the rest; they stop accidents, `AuditLog.verify` finds malice):

    log          one row: the origin
    entries      position, bytes
    hashes       position in `merkle`'s order of storing, hash
    checkpoints  size, signed note

The rollback journal in TRUNCATE mode, with `synchronous=FULL`, and not WAL:

- WAL has a race that can lose committed rows when several connections write, in all of SQLite 3.7.0 to 3.51.2 (sqlite.org/wal.html,
  "The WAL-Reset Bug"), and we use the SQLite that Python came with.
- The log is one file, which an auditor can copy, and read from a medium that nobody can write to. WAL needs its companions and a folder
  to write.
- With FULL, TRUNCATE mode syncs the end of a transaction too; DELETE mode does not, and a power cut could undo the last append.

The price is a second flush per append.

Who appends must be sure that nobody else writes to the file, or to what SQLite takes for its own beside it: `check_private`, before each
transaction. Who only reads may have the file from anybody, so nothing is asked of it but that reading changes nothing: SQLite opens it with
`mode=ro`, refuses a journal that it would have to roll back, and a `-wal`, which it would read as a part of the log, is refused by us.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from stfed import sqlschema
from stfed.audit.errors import TamperedLogError
from stfed.audit.note import check_name
from stfed.errors import LocalError, StfedError, shown
from stfed.files import check_private, sync_folder

_APPLICATION_ID = 0x73744C67  # "stLg", in the file's header, where `file` looks for it
_VERSION = 1
_TABLES = {
    "log": "origin TEXT NOT NULL",
    "entries": "position INTEGER PRIMARY KEY, data BLOB NOT NULL",
    "hashes": "position INTEGER PRIMARY KEY, hash BLOB NOT NULL",
    "checkpoints": "size INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (size, note)",
}
SCHEMA = (
    *(f"CREATE TABLE {name} ({columns}){' WITHOUT ROWID' if 'KEY (' in columns else ''}" for name, columns in _TABLES.items()),
    *(
        f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} BEGIN SELECT RAISE(ABORT, 'the log only grows'); END"
        for name in _TABLES
        for verb in ("UPDATE", "DELETE")
    ),
)

_open: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []


def _leave_to_the_parent() -> None:
    """In a forked child: keeps connections that the parent had open from being closed, which could roll back what the parent writes."""
    _inherited.extend(database._connection for database in _open)


os.register_at_fork(after_in_child=_leave_to_the_parent)

_REASONS = {
    sqlite3.SQLITE_BUSY: ("it is locked by another process", "wait for the other process to end, or end it, and try again"),
    sqlite3.SQLITE_LOCKED: ("it is locked by another process", "wait for the other process to end, or end it, and try again"),
    sqlite3.SQLITE_FULL: ("the disk is full", "make room; what was appended before is safe"),
    sqlite3.SQLITE_READONLY: ("it can only be read", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_PERM: ("it cannot be opened", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_AUTH: ("it cannot be opened", "check the permissions of the file and its folder"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check the disk; what was appended before is safe"),
    sqlite3.SQLITE_NOTADB: ("it is no audit log", "name the file that AuditLog made"),
}


class Database:
    """One connection to a log's file, for all threads of this process.

    Attributes:
        path: the file.
        origin: the log's name, as the file has it.
    """

    def __init__(self, path: str | os.PathLike[str], *, origin: str | None, create: bool, read_only: bool, timeout_s: float) -> None:
        self.path: Path = Path(path)
        self._read_only, self._timeout_s, self._process = read_only, timeout_s, os.getpid()
        self._lock = threading.RLock()
        if origin is not None:
            check_name(origin, "the log's origin")
        with self._explained():
            self._check_place()
            if create and not read_only and not os.path.lexists(self.path):
                _make(self.path, origin or f"stfed/audit/{secrets.token_hex(8)}")
            self._file = self._identify()
            self._connection = _connect(self.path, timeout_s, read_only=read_only)
        _open.add(self)
        try:
            self.origin: str = self._check(origin)
        except BaseException:
            self._connection.close()
            raise

    def _check_place(self) -> None:
        """LocalError if SQLite would find beside the file what somebody else may have put there, or a writer could not rely on the file."""
        if not self._read_only:
            check_private(self.path, database=True)
            return
        real = os.path.realpath(self.path)  # SQLite follows links before it looks beside a file
        for companion in (f"{real}-wal", f"{real}-shm"):
            if os.path.lexists(companion):
                raise LocalError(
                    f"beside the audit log {self.path} lies {companion}, which no log has, and SQLite would read it as a part of the log",
                    hint="find out who put it there; verify a copy of the log alone",
                )

    def _identify(self) -> tuple[int, int]:
        found = self.path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise LocalError(f"the audit log {self.path} is not a plain file")
        return found.st_dev, found.st_ino

    def _check(self, origin: str | None) -> str:
        """That the file is a log, and the one that was meant. Returns its origin."""
        with self.reading() as connection:
            (application,), (version,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
            if application == _APPLICATION_ID and version > _VERSION:
                raise LocalError(f"the audit log {self.path} was made by a newer stfed", hint="update stfed")
            if (application, version) != (_APPLICATION_ID, _VERSION):
                raise LocalError(f"{self.path} is no audit log", hint="name the file that AuditLog made")
            self._check_tables(connection)
            origins = [value for (value,) in connection.execute("SELECT origin FROM log")]
        if len(origins) != 1 or not isinstance(origins[0], str):
            raise TamperedLogError(f"the audit log {self.path} does not say what it is called: its tables were changed")
        if origin not in (None, origins[0]):
            raise LocalError(f"the audit log {self.path} is {shown(origins[0])}, not {shown(origin)}", hint="leave the origin out")
        return str(origins[0])

    def _check_tables(self, connection: sqlite3.Connection) -> None:
        """TamperedLogError if there is a table, index or trigger too many, too few or changed: one could swallow what is appended."""
        if not sqlschema.is_exactly(connection, SCHEMA):
            raise TamperedLogError(f"the tables or triggers of the audit log {self.path} were changed", hint="find out by whom")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A view of the file that stays the same inside the block. Keep it short: a writer waits for it."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The one writer of the file; what the block wrote is on the disk when it is left, or was never there.

        Raises:
            LocalError: also if the file was moved away or replaced since it was opened, because what is appended would be lost; and if it
                was opened to be read only.
        """
        if self._read_only:
            raise LocalError(f"the audit log {self.path} was opened to be read only", hint="open it without read_only=True to append")
        with self._transaction("BEGIN IMMEDIATE") as connection:
            if self._identify() != self._file:
                raise LocalError(f"the audit log {self.path} was replaced by another file while it was open", hint="find out by whom")
            self._check_tables(connection)
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._process:  # SQLite's locks do not survive a fork, and its cache would be stale
            raise LocalError(f"the audit log {self.path} was opened in another process", hint="open it anew in this one")
        with self._lock, self._explained():
            self._check_place()
            try:
                self._connection.execute(begin)
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error) from error
        except FileNotFoundError:
            raise LocalError(f"there is no audit log {self.path}", hint="check the name, and that its folder exists") from None
        except OSError as error:
            raise LocalError(f"the audit log {self.path} cannot be used: {error.strerror}") from error

    def _error(self, error: sqlite3.Error) -> StfedError:
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            return LocalError(
                f"a writer of the audit log {self.path} was killed before it was done, or somebody put a -journal beside it: "
                "what the log holds shows only when that is undone, and reading does not change a log",
                hint="the next append by its owner undoes it; if no writer was killed, find out who put the -journal there",
            )
        code &= 0xFF  # the low byte is the kind of error, the rest its details
        if code == sqlite3.SQLITE_CORRUPT:
            return TamperedLogError(f"the audit log {self.path} is damaged: {error}")
        reason, hint = _REASONS.get(code, (str(error), None))
        waited = f" for longer than {self._timeout_s:g} s" if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) else ""
        return LocalError(f"the audit log {self.path} cannot be used: {reason}{waited}", hint=hint)

    def close(self) -> None:
        """Gives the file back. What was appended is on the disk already."""
        if os.getpid() == self._process:
            with self._lock:
                self._connection.close()


def _connect(path: Path, timeout_s: float, *, read_only: bool = False) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rw'}"  # SQLite is not to make a file, which others could read
    connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", *(() if read_only else ("journal_mode=TRUNCATE", "synchronous=FULL"))):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path, origin: str) -> None:
    """Makes the file of an empty log, mode 0600, all at once: nobody ever sees half a one, and of two processes one is first."""
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # SQLite gives its journal the same mode
    try:
        connection = _connect(temporary, 0)
        try:
            connection.execute("BEGIN")
            for statement in (*SCHEMA, f"PRAGMA application_id={_APPLICATION_ID}", f"PRAGMA user_version={_VERSION}"):
                connection.execute(statement)
            connection.execute("INSERT INTO log VALUES (?)", (origin,))
            connection.execute("COMMIT")
        finally:
            connection.close()
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        for leftover in (temporary, temporary.with_name(temporary.name + "-journal")):
            leftover.unlink(missing_ok=True)
    sync_folder(path.absolute().parent)
