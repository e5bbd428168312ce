"""What a reader has seen of each model, so that an older version offered as the newest shows (TUF calls this a rollback attack).

One row per model and signer, in a small SQLite file of mode 0600. SQLite, and not a text file with a lock beside it: several processes
may check at once, each check is one transaction that reads, judges and remembers, a kill at any moment leaves the old row or the new one,
and the cost does not grow with the number of models. A version counts as seen when its file was verified and is about to be given out.

The first version of a model that is seen is believed, whichever it is: a pins file protects from its second entry on, and whoever can write
to it can undo it. So it is refused where anybody but its owner and root can.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stfed import sqlschema
from stfed.errors import LocalError
from stfed.files import check_private, create_file, sync_folder
from stfed.keys.signing import VerifyingKey
from stfed.sealed.statements import Statements
from stfed.sealed.versions import Version

_APPLICATION_ID = 0x73746670  # "stfp", at byte 68 of the file: what `file` shows, and what keeps other databases out
_SCHEMA_VERSION = 1
_WAIT_S = 30.0
_CREATING = threading.Lock()
"""SQLite's locks on a file are the process's, and closing any descriptor of that file drops them: none of ours is open beside SQLite's."""

_SCHEMA = """CREATE TABLE pins (
    model TEXT NOT NULL, signer TEXT NOT NULL, sequence INTEGER NOT NULL, revision INTEGER NOT NULL, manifest BLOB NOT NULL, previous BLOB,
    PRIMARY KEY (model, signer)
) WITHOUT ROWID"""
_COLUMNS = "model, sequence, revision, manifest, previous"


@dataclass(frozen=True)
class Pin:
    """The newest version of a model that was seen under one signer's key."""

    signer: VerifyingKey
    version: Version


class Pins:
    """A file that remembers. It may be shared by threads and processes, and is created if there is none.

    Args:
        path: the file. Its folder must exist.

    Raises:
        LocalError: if it cannot be a pins file, or somebody else may change or replace it: see `stfed.files.check_private`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()
        with self._transaction():
            pass  # the file is there now and is one of ours, or somebody hears of it before they rely on it

    def check(
        self,
        signers: VerifyingKey | Iterable[VerifyingKey],
        manifest_sha256: bytes,
        stated: Statements,
        *,
        counts: Callable[[VerifyingKey], bool] = lambda _: False,
    ) -> None:
        """Returns if the file is no older than what was seen of its model, and has then remembered it, durably.

        Args:
            signers: the trusted keys that signed it: it is remembered, and must not be older than what was seen, under each of them.
            manifest_sha256: hash of its manifest; of a sharded model, of its index.
            stated: what the signed manifest states, public and sealed part together.
            counts: whether a key is trusted: what somebody else who is trusted signed of this model is held against the file as well, so
                that an older file does not pass because it has another of the trusted signatures.

        Raises:
            RollbackError: if it is older than what was seen, contradicts it, or does not state `model` and `sequence`.
            LocalError: for one shard by itself, or if the pins cannot be read or written.
        """
        if "shard" in stated:
            raise LocalError("a shard by itself is no version of a model", hint="open the whole set: stfed.sealed.shards.load_sharded")
        own = {str(key): key for key in ([signers] if isinstance(signers, VerifyingKey) else signers)}
        version = Version.stated(stated, manifest_sha256)
        with self._transaction() as database:
            rows = database.execute(f"SELECT signer, {_COLUMNS} FROM pins WHERE model = ?", (version.model,)).fetchall()  # noqa: S608
            for signer, *row in rows:
                if signer in own or counts(VerifyingKey.from_string(signer)):
                    version.check_follows(Version(*row))
            for key in own:
                database.execute(
                    "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?)",
                    (version.model, key, version.sequence, version.revision, version.manifest_sha256, version.previous),
                )

    def seen(self) -> list[Pin]:
        """All of it, by model and signer."""
        with self._transaction() as database:
            rows = database.execute(f"SELECT signer, {_COLUMNS} FROM pins ORDER BY model, signer").fetchall()  # noqa: S608
        return [Pin(VerifyingKey.from_string(row[0]), Version(*row[1:])) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All that happens in the block, or nothing; others wait meanwhile."""
        self._prepare()
        try:
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = EXTRA")  # FULL may lose the last commit with the power, not more
                database.execute("BEGIN IMMEDIATE")
                try:
                    self._identify(database)
                    yield database
                except BaseException:
                    database.rollback()
                    raise
                database.commit()
        except sqlite3.OperationalError as error:
            raise LocalError(f"the pins in {self._path} cannot be used now: {error}") from None
        except sqlite3.DatabaseError as error:
            raise LocalError(f"{self._path} is damaged or no pins file: {error}", hint="restore it from a copy") from None

    def _prepare(self) -> None:
        """Makes an empty file if there is none, because SQLite would choose the mode by the umask, and refuses what others could change."""
        with _CREATING:
            if not self._path.exists():
                check_private(self._path)  # nothing is made where it would be refused
                try:
                    create_file(self._path, b"", 0o600)
                except LocalError:
                    if not self._path.is_file():  # unless another process was faster
                        raise
                sync_folder(self._path.parent)
        if not self._path.is_file():
            raise LocalError(f"{self._path} is not a plain file and holds no pins")
        check_private(self._path, database=True)

    def _identify(self, database: sqlite3.Connection) -> None:
        """Creates the table in an empty file, and refuses whatever else is no pins file of this version."""
        application_id, version = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if (application_id, version) == (_APPLICATION_ID, _SCHEMA_VERSION):
            if not sqlschema.is_exactly(database, [_SCHEMA]):
                raise LocalError(
                    f"the tables or triggers in {self._path} were changed", hint="find out by whom; start with a new pins file"
                )
            return
        if (application_id, version) != (0, 0) or database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise LocalError(f"{self._path} is a database, but no pins file of version {_SCHEMA_VERSION}")
        database.execute(_SCHEMA)
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
