"""Somebody else's hand, for the tests of files that only ours may have touched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STRANGER = 54321


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a file, folder or link belong to somebody else: truly if we are root, who alone may do so, and else in what `stat` says."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1, follow_symlinks=False)
        return
    given = path.lstat()
    for name in ("stat", "lstat", "fstat"):
        monkeypatch.setattr(os, name, _as_given_away(getattr(os, name), (given.st_dev, given.st_ino)))


def _as_given_away(real: Callable[..., os.stat_result], given: tuple[int, int]) -> Callable[..., os.stat_result]:
    def said(*arguments: Any, **named: Any) -> os.stat_result:
        found = real(*arguments, **named)
        if (found.st_dev, found.st_ino) != given:
            return found
        return os.stat_result((*found[:4], STRANGER, *found[5:]))

    return said


def stolen_journal(database: Path, work: Path, *, drop: tuple[str, ...] = ()) -> bytes:
    """What a stranger who got a copy of a database makes of it: a journal that, laid beside the database, puts back how it is now.

    Args:
        database: as it is to be put back.
        work: a folder to work in.
        drop: triggers that keep tables from being emptied.
    """
    copy = work / "copy"
    copy.write_bytes(database.read_bytes())
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        for statement in ("PRAGMA synchronous=OFF", "PRAGMA cache_size=1", "BEGIN IMMEDIATE", *(f"DROP TRIGGER {name}" for name in drop)):
            connection.execute(statement)
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f"DELETE FROM {table}")
        connection.execute("CREATE TABLE filling (x)")
        connection.executemany("INSERT INTO filling VALUES (?)", [(bytes(4000),)] * 50)  # more than the cache holds
        return (work / "copy-journal").read_bytes()
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def stolen_wal(database: Path, work: Path, statement: str) -> bytes:
    """Likewise a write-ahead log, which needs not even be of the past: laid beside the database it adds what `statement` does."""
    copy = work / "copy"
    copy.write_bytes(database.read_bytes())
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(statement)
        return (work / "copy-wal").read_bytes()
    finally:
        connection.close()
