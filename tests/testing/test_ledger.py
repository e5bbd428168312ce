"""`stfed.testing.ledger` on the tables that Flower's SuperLink makes, and such statements; a real one is in tests/deployment."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from flwr.supercore.state.schema.linkstate_models import LinkStateBase
from sqlalchemy import create_engine

from stfed.errors import LocalError
from stfed.testing.ledger import Ledger

RUN, FIRST = 5, -(1 << 62)  # Flower keeps unsigned ids as signed numbers


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    LinkStateBase.metadata.create_all(create_engine(f"sqlite:///{path}"))
    return path


def do(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def sent(message: str, node: int, step: str, kind: str = "train", run: int = RUN) -> str:
    columns = "message_id, run_id, dst_node_id, group_id, message_type, delivered_at"
    return f"INSERT INTO message_ins ({columns}) VALUES ('{message}', {run}, {node}, '{step}', '{kind}', '')"


def answered(message: str) -> list[str]:
    return [
        f"UPDATE message_ins SET delivered_at = '2026' WHERE message_id = '{message}'",
        f"INSERT INTO message_res (message_id, reply_to_message_id, delivered_at) VALUES ('re-{message}', '{message}', '')",
        f"UPDATE message_res SET delivered_at = '2026' WHERE message_id = 're-{message}'",
        f"DELETE FROM message_ins WHERE message_id = '{message}'",
        f"DELETE FROM message_res WHERE message_id = 're-{message}'",
    ]


def test_what_the_superlink_forgets_is_still_in_the_ledger(database: Path) -> None:
    ledger = Ledger(database)
    ledger.open()
    ledger.open()  # as after a restart
    do(database, sent("a", FIRST, "prepare-1"), sent("b", FIRST + 1, "prepare-1"), *answered("a"))
    first, second = ledger.passages()
    assert (first.message, first.run, first.node, first.step, first.kind) == ("a", RUN, FIRST % 2**64, "prepare-1", "train")
    assert first.fetched is not None
    assert first.answered is not None
    assert first.collected is not None
    assert first.sent <= first.fetched <= first.answered <= first.collected
    assert (second.fetched, second.answered, second.collected) == (None, None, None)


def test_a_trip_is_a_step_and_a_node_that_is_written_to_again_begins_the_next(database: Path) -> None:
    ledger = Ledger(database)
    ledger.open()
    steps = [("a", 1, "1"), ("b", 2, "1"), ("c", 1, "1"), ("d", 2, "1"), ("e", 1, "unmask-1"), ("f", 2, "unmask-1")]
    do(database, *(sent(*step) for step in steps), sent("g", 1, "unmask-1", "evaluate"), sent("h", 1, "unmask-1", run=RUN + 1))
    do(database, *answered("b"))
    time.sleep(0.01)  # the clock of SQLite has milliseconds
    do(database, *answered("a"))
    trips = ledger.trips()
    assert [[passage.message for passage in trip.passages] for trip in trips] == [["b", "a"], ["c", "d"], ["e", "f"], ["g"], ["h"]]
    assert trips[0].last.message == "a"
    assert [trip.step for trip in ledger.trips(RUN + 1)] == ["unmask-1"]


def test_what_is_no_superlinks_database_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="messages cannot be counted"):
        Ledger(tmp_path / "other.db").open()
