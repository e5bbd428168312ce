"""The coordinator's durable memory: which epochs and round numbers of a run are used up, and which survivor set was frozen.

A round number is used for one sum and one survivor set only. The journal hands out epochs and rounds, each durably before anything is
sent, and records U2 before the first CONFIRM or UNMASK leaves. A coordinator that restarts goes on with new numbers, so a round it was
unmasking is never asked again with another U2. Likewise what a differentially private run has spent: a sum is paid for before it is asked
for, and who starts again, with another strategy on the same grid or after a crash, goes on from there. So does the search for a clip.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from stfed.dp import Accountant
from stfed.errors import LocalError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS numbers (run TEXT PRIMARY KEY, epoch INTEGER NOT NULL, round INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS survivors (
    run TEXT NOT NULL, round INTEGER NOT NULL, nodes TEXT NOT NULL, PRIMARY KEY (run, round)) STRICT;
CREATE TABLE IF NOT EXISTS privacy (run TEXT PRIMARY KEY, last_round INTEGER NOT NULL, accountant TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS clips (run TEXT PRIMARY KEY, search TEXT NOT NULL) STRICT;
"""


class Journal:
    """One SQLite file.

    Args:
        path: where; None keeps it in memory, for simulations and tests whose run ends with the process.
    """

    def __init__(self, path: Path | None = None) -> None:
        try:
            if path is not None:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path or ":memory:", timeout=60.0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LocalError(f"the coordinator's journal {path} cannot be opened: {error}") from error

    def position(self, run: int) -> tuple[int, int]:
        """Last epoch and last round number used in this run; (0, 0) at its start."""
        with closing(self._connection.execute("SELECT epoch, round FROM numbers WHERE run = ?", (str(run),))) as cursor:
            row: tuple[int, int] | None = cursor.fetchone()
        return row or (0, 0)

    def next_epoch(self, run: int) -> int:
        """A new epoch."""
        with self._transaction():
            epoch, round_ = self.position(run)
            self._connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", (str(run), epoch + 1, round_))
        return epoch + 1

    def next_round(self, run: int) -> int:
        """A new round number."""
        with self._transaction():
            epoch, round_ = self.position(run)
            self._connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", (str(run), epoch, round_ + 1))
        return round_ + 1

    def freeze(self, run: int, round_: int, nodes: tuple[int, ...]) -> None:
        """Records U2 of a round.

        Raises:
            LocalError: it was frozen before.
        """
        try:
            with self._transaction():
                self._connection.execute("INSERT INTO survivors VALUES (?, ?, ?)", (str(run), round_, " ".join(map(str, nodes))))
        except sqlite3.IntegrityError:
            raise LocalError(f"the survivors of round {round_} were frozen before; the round is aborted") from None

    def spent(self, run: int) -> tuple[int, Accountant]:
        """What the noised sums of this run have given away so far, and the last round that had one; 0 and nothing at its start."""
        with closing(self._connection.execute("SELECT last_round, accountant FROM privacy WHERE run = ?", (str(run),))) as cursor:
            row: tuple[int, str] | None = cursor.fetchone()
        return (0, Accountant()) if row is None else (row[0], Accountant.restore(json.loads(row[1])))

    def spend(self, run: int, last_round: int, accountant: Accountant) -> None:
        """Notes what the run will have given away with the sum that is about to be asked for."""
        with self._transaction():
            state = (str(run), last_round, json.dumps(accountant.state()))
            self._connection.execute("INSERT OR REPLACE INTO privacy VALUES (?, ?, ?)", state)

    def search(self, run: int) -> dict[str, Any] | None:
        """How far the search for this run's clip has come, as it was kept; None at its start."""
        with closing(self._connection.execute("SELECT search FROM clips WHERE run = ?", (str(run),))) as cursor:
            row: tuple[str] | None = cursor.fetchone()
        return None if row is None else json.loads(row[0])

    def keep_search(self, run: int, search: Mapping[str, object]) -> None:
        """Keeps how far the search for this run's clip has come."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO clips VALUES (?, ?)", (str(run), json.dumps(search)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


_journals: WeakKeyDictionary[object, Journal] = WeakKeyDictionary()


def journal_of(grid: object) -> Journal:
    """The journal in memory of a grid: what a ServerApp runs on it one after the other shares the run and its round numbers."""
    return _journals.setdefault(grid, Journal())
