"""Whether an SQLite file has exactly the tables it should have: a trigger or view planted in it could swallow what is written, unseen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import cache

_ROWS = "SELECT type, name, tbl_name, sql FROM sqlite_master"


def is_exactly(connection: sqlite3.Connection, statements: Iterable[str]) -> bool:
    """True if the file's schema is what these CREATE statements make in an empty one, and nothing besides.

    All rows are compared, those with reserved names too: with `writable_schema`, somebody who can write the file once can plant a trigger
    under any name, and SQLite runs it.
    """
    return frozenset(connection.execute(_ROWS)) == _made_by(tuple(statements))


@cache
def _made_by(statements: tuple[str, ...]) -> frozenset[tuple[str, str, str, str | None]]:
    fresh = sqlite3.connect(":memory:")
    try:
        for statement in statements:
            fresh.execute(statement)
        return frozenset(fresh.execute(_ROWS))
    finally:
        fresh.close()
