"""What the tests of `stfed.audit` share: the checked-in vectors, people with keys, a clock, and hands that change a log's file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stfed.audit import AuditLog, Event, Kind, Witness, cosigner_key, log_key
from stfed.audit.database import SCHEMA
from stfed.crypto.identity import Identity

VECTORS = Path(__file__).parent.parent / "vectors" / "audit"

LOG_SIGNER, ANNA, BEN, EVE = (Identity.from_private_bytes(bytes([number]) * 32) for number in range(4))
ORIGIN = "stfed/audit/test"
KEY = log_key(ORIGIN, LOG_SIGNER)
ANNA_KEY, BEN_KEY = cosigner_key("a.example", ANNA), cosigner_key("b.example", BEN)
START = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


class Clock:
    """A second later at every look."""

    def __init__(self) -> None:
        self.now = START - timedelta(seconds=1)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def event(number: int = 0) -> Event:
    return Event(Kind.OPEN, {"actor": f"party-{number}", "file_id": f"{number:032x}"})


def filled(path: Path, count: int, *, start: int = 0, origin: str = ORIGIN) -> AuditLog:
    log = AuditLog(path, origin=origin, clock=Clock())
    log._database._connection.execute("PRAGMA synchronous=OFF")  # whether the disk keeps it is not what these tests ask
    for number in range(start, start + count):
        log.append(event(number))
    return log


def witness(path: Path, signer: Identity = ANNA, name: str = "a.example") -> Witness:
    return Witness(path, name=name, signer=signer, trusted=[KEY], clock=Clock())


def edit(path: Path, *statements: str | tuple[str, Iterable[Any]]) -> None:
    """Changes a log's file as somebody would who may write it and knows SQL: the triggers are put back afterwards."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    triggers = [statement for statement in SCHEMA if statement.startswith("CREATE TRIGGER")]
    for statement in triggers:
        connection.execute(f"DROP TRIGGER {statement.split()[2]}")
    for statement in statements:
        text, values = (statement, ()) if isinstance(statement, str) else statement
        connection.execute(text, tuple(values))
    for statement in triggers:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()


def rows(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
