"""The party's state on its own disk: SQLite for the atomic, durable test-and-set, AES-256-GCM for the secrets in it.

Flower's `Context` alone cannot hold the state: it is read when a message starts and written when it ends, so two messages in flight see
the same old one. But it is the right place for the key: the record in the database is encrypted under a key that lives in the Context,
which a SuperNode keeps in memory. So the file alone tells nothing, a restarted SuperNode has lost its secrets and joins again in the
next epoch, and nothing secret is on disk in clear. The key is ratcheted with every version of the record, so what a disk keeps of older
versions cannot be opened with today's key; a database that is older than the Context was put back from a copy and is refused.

What stays readable without the key, on purpose: run, epoch and round numbers and hashes of models, which keep a party from using a round
number twice after its secrets are lost. What nobody touched for 30 days is deleted when a run begins.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import ConfigRecord, Context

from stfed.crypto import aead
from stfed.crypto.kdf import derive, framed
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, PeerError
from stfed.files import check_private
from stfed.secagg.refusals import StateLostError
from stfed.secagg.store import Transaction

FILE_NAME = "party.sqlite"
_CONTEXT_RECORD = "stfed.store"
_LOCK_TIMEOUT_S = 60.0
_MAX_AHEAD = 10_000
_KEEP_S = 30 * 24 * 3600.0
_REJOIN = "the coordinator has to start a new epoch; this party then joins again with a new key"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    node INTEGER NOT NULL, run INTEGER NOT NULL, epoch INTEGER NOT NULL, round INTEGER NOT NULL, version INTEGER NOT NULL,
    touched REAL NOT NULL, record BLOB NOT NULL, PRIMARY KEY (node, run)) STRICT;
CREATE TABLE IF NOT EXISTS contents (
    owner BLOB NOT NULL, phase INTEGER NOT NULL, digest BLOB NOT NULL, touched REAL NOT NULL,
    PRIMARY KEY (owner, phase, digest)) STRICT;
"""


STATE_DIR = "stfed-state-dir"
"""The key of the node's config."""


def state_dir(node_config: dict[str, object] | None = None) -> Path:
    """Where a party keeps its state: node config `stfed-state-dir`, else $STFED_STATE_DIR, else the XDG state directory."""
    named = (node_config or {}).get(STATE_DIR) or os.environ.get("STFED_STATE_DIR")
    if named:
        return Path(str(named))
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "stfed"


def _signed(value: int) -> int:
    """Flower's ids are unsigned 64-bit, SQLite's integers signed."""
    return value - (1 << 64) if value >= 1 << 63 else value


@dataclass(slots=True)
class _Row:
    """One run of one node inside an open SQLite transaction."""

    connection: sqlite3.Connection
    store: SqliteStore
    run: int

    def _select(self) -> tuple[int, int, int, bytes] | None:
        row: tuple[int, int, int, bytes] | None = self.connection.execute(
            "SELECT epoch, round, version, record FROM runs WHERE node = ? AND run = ?", self.store.key_of(self.run)
        ).fetchone()
        return row

    def position(self) -> tuple[int, int]:
        row = self._select()
        return (row[0], row[1]) if row else (0, 0)

    def read(self) -> bytes | None:
        row = self._select()
        if row is None:
            return None
        _, _, version, record = row
        key = self.store.key_at(self.run, version)
        try:
            return aead.open_random(key, record, self.store.associated_data(self.run, version))
        except PeerError:
            raise StateLostError("this party's state was written with another key and cannot be read", hint=_REJOIN) from None

    def write(self, epoch: int, round_: int, record: bytes) -> None:
        row = self._select()
        if row is None:
            self._delete_old()
        version = max(row[2] if row else 0, self.store.seen_version(self.run)) + 1
        if not self.store.has_key(self.run):
            self.store.note(self.run, version, self.store.entropy(aead.KEY_BYTES))
        key = self.store.key_at(self.run, version)
        sealed = aead.seal_random(key, record, self.store.associated_data(self.run, version), self.store.entropy)
        self.connection.execute(
            "INSERT OR REPLACE INTO runs (node, run, epoch, round, version, touched, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*self.store.key_of(self.run), epoch, round_, version, time.time(), sealed),
        )
        self.store.note(self.run, version, key)

    def _delete_old(self) -> None:
        """A run starts once in days, and its first record is the time to make room. Whoever comes back to a deleted run joins it anew."""
        old = time.time() - _KEEP_S
        self.connection.execute("DELETE FROM runs WHERE touched < ?", (old,))
        self.connection.execute("DELETE FROM contents WHERE touched < ?", (old,))

    def add_content(self, phase: int, digest: bytes) -> bool:
        owner = self.store.owner or self.store.node.to_bytes(8, "big")
        cursor = self.connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?, ?, ?)", (owner, phase, digest, time.time()))
        return cursor.rowcount == 1


@dataclass(slots=True)
class SqliteStore:
    """A `PartyStore` in one SQLite file, for one node.

    Args:
        path: the database; its folder is made with mode 0700, the file with 0600.
        node: the node's id.
        context: Flower's Context of this node: holds the key and the versions seen.
        owner: the party's Ed25519 identity, where it has one. What it has worked on is remembered under this name: the node's id is the
            SuperLink's to give, and under a new one a party would work on the same content again.
        entropy: where the key and the nonces come from.
    """

    path: Path
    node: int
    context: Context = field(repr=False)
    owner: bytes = b""
    entropy: Entropy = field(default=system_entropy, repr=False)

    @classmethod
    def of(cls, context: Context, folder: Path | None = None, owner: bytes = b"") -> SqliteStore:
        """The store that this node's config names."""
        return cls((folder or state_dir(dict(context.node_config))) / FILE_NAME, context.node_id, context, owner)

    def seen_version(self, run: int) -> int:
        """The newest version of this run's record that the Context knows of."""
        value = self._reference().get(f"version-{run}", 0)
        return value if isinstance(value, int) else 0

    def key_at(self, run: int, version: int) -> bytes:
        """The key of a version of this run's record: ratcheted forward from the one in the Context, never back.

        So a Context that is older than the record, because two messages were in flight, still opens it, while what is left on the disk of
        older versions is closed for good.

        Raises:
            StateLostError: there is no key, or the version is older than the Context's, or too far ahead of it.
        """
        record, seen = self._reference(), self.seen_version(run)
        if not self.has_key(run):
            raise StateLostError("the key of this party's state is gone, as after a restart of its SuperNode", hint=_REJOIN)
        if not seen <= version <= seen + _MAX_AHEAD:
            raise StateLostError(
                f"this party's state has version {version}, its Context version {seen}: one of them was put back from a copy", hint=_REJOIN
            )
        key = record[f"key-{run}"]
        if not isinstance(key, bytes) or len(key) != aead.KEY_BYTES:
            raise LocalError(f"the Context's record {_CONTEXT_RECORD!r} is not ours")
        for _ in range(version - seen):
            key = derive(key, Label.STORE_RATCHET)
        return key

    def has_key(self, run: int) -> bool:
        """Whether the Context has a key of this run's record."""
        return f"key-{run}" in self._reference()

    def note(self, run: int, version: int, key: bytes) -> None:
        """Remembers a version and its key in the Context, in the place of the older ones."""
        self._reference().update({f"version-{run}": version, f"key-{run}": key})

    def key_of(self, run: int) -> tuple[int, int]:
        """The primary key of a run's row."""
        return _signed(self.node), _signed(run)

    def associated_data(self, run: int, version: int) -> bytes:
        """What a record is bound to: node, run and version."""
        return framed(Label.STORE_RECORD, *(value.to_bytes(8, "big") for value in (self.node, run, version)))

    @contextmanager
    def transaction(self, run: int) -> Iterator[Transaction]:
        """See `PartyStore`. Two processes with messages in flight take turns here.

        Raises:
            LocalError: the file cannot be used: another file, open to others or in a folder that is, on a full disk, or locked for over a
                minute.
        """
        try:
            with closing(self._open()) as connection:
                self._set_up(connection)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield _Row(connection, self, run)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                # Durable before this returns, so before any reply leaves.
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LocalError(
                f"the party's state in {self.path} cannot be used: {error}",
                hint="if the file is damaged, delete it; this party then joins anew",
            ) from error

    def _reference(self) -> ConfigRecord:
        state = self.context.state
        if _CONTEXT_RECORD not in state:
            state[_CONTEXT_RECORD] = ConfigRecord()
        record = state[_CONTEXT_RECORD]
        if not isinstance(record, ConfigRecord):
            raise LocalError(f"the Context's record {_CONTEXT_RECORD!r} is not ours")
        return record

    def _open(self) -> sqlite3.Connection:
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LocalError(
                f"the party's state cannot be kept in {self.path}: {error.strerror}",
                hint="name a writable folder in the node config as stfed-state-dir, or in $STFED_STATE_DIR",
            ) from error
        if mode & 0o077:
            raise LocalError(f"{self.path} is open to others (mode {mode:04o})", hint=f"chmod 600 {self.path}")
        check_private(self.path, database=True)  # an older record beside it as a journal would take round numbers back
        return sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # A rollback journal with FULL is durable at COMMIT; freed pages are overwritten.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = 1; COMMIT;")
