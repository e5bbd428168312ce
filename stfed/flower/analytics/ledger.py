"""`Ledger`: in how many answers of this party each column has occurred, in all runs. Whether there was a sum, a party never knows.

An exact sum over one cohort and the same over another differ by whoever was in one only. The protocol refuses the very same message twice,
but the same can be asked in many ways, and a mean tells the number of values as a histogram does. So what counts is the column.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from stfed.errors import LocalError, shown

FILE_NAME = "stfed-answers.db"
_LOCK_TIMEOUT_S = 60.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS told (node TEXT NOT NULL, name TEXT NOT NULL, run TEXT NOT NULL, at INTEGER NOT NULL) STRICT"


class SpentError(LocalError):
    """This party has answered questions about a column as often as its policy allows."""


class Ledger:
    """One SQLite file, mode 0600. Simulated nodes may share it.

    Args:
        path: of the file; it and its folder are made if they are not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def spend(self, node: int, run: int, columns: Iterable[str], times: int) -> None:
        """Notes, durably, that an answer about these columns is given; call it before it is.

        Args:
            node: Flower's id of this party's node.
            run: Flower's id of the run.
            columns: by name, each once.
            times: in how many answers each may occur, this one included.

        Raises:
            SpentError: one has occurred in so many; then nothing is noted.
            LocalError: the file cannot be used.
        """
        with self._transaction() as connection:
            for name in columns:
                query = "SELECT count(*) FROM told WHERE node = ? AND name = ?"
                with closing(connection.execute(query, (str(node), name))) as cursor:
                    told = cursor.fetchone()[0]
                if told >= times:
                    raise SpentError(f"the column {shown(name)} was told of as often as this party's policy allows, {times} in all")
                connection.execute("INSERT INTO told VALUES (?, ?, ?, ?)", (str(node), name, str(run), int(time.time())))

    def told(self, node: int) -> dict[str, int]:
        """In how many answers each column has occurred."""
        with self._transaction() as connection:
            query = "SELECT name, count(*) FROM told WHERE node = ? GROUP BY name ORDER BY name"
            return dict(connection.execute(query, (str(node),)).fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise LocalError(f"this party's ledger {self.path} cannot be used: {error}") from error
