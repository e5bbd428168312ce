"""What passed through a SuperLink, counted and timed by its own database: each message, when it was sent, fetched, answered, collected.

A SuperLink deletes a message as soon as its reply is collected, so looking into its tables afterwards shows nothing. Triggers in the same
database write each of the four moments down when they happen, in the transaction that makes them so. Nothing of Flower is changed, no
message is missed, and the clock is the SuperLink's machine's for all four.

Open the ledger while the SuperLink is up and before the first message; it outlives restarts, as the database does.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stfed.errors import LocalError

_BUSY_S = 20.0
_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_TABLE = """
CREATE TABLE IF NOT EXISTS stfed_ledger (
    message_id TEXT PRIMARY KEY, run INTEGER, node INTEGER, step TEXT, kind TEXT, sent REAL, fetched REAL, answered REAL, collected REAL
)
"""
_SENT = """
CREATE TRIGGER IF NOT EXISTS stfed_sent AFTER INSERT ON message_ins BEGIN
    INSERT OR IGNORE INTO stfed_ledger (message_id, run, node, step, kind, sent)
    VALUES (NEW.message_id, NEW.run_id, NEW.dst_node_id, NEW.group_id, NEW.message_type, {now});
END
"""
_LATER = """
CREATE TRIGGER IF NOT EXISTS stfed_{moment} AFTER {event} BEGIN
    UPDATE stfed_ledger SET {moment} = {now} WHERE message_id = NEW.{message};
END
"""
_DELIVERED = "UPDATE OF delivered_at ON {table} WHEN NEW.delivered_at != ''"
_STATEMENTS = (
    _TABLE,
    _SENT.format(now=_NOW),
    _LATER.format(moment="fetched", event=_DELIVERED.format(table="message_ins"), message="message_id", now=_NOW),
    _LATER.format(moment="answered", event="INSERT ON message_res", message="reply_to_message_id", now=_NOW),
    _LATER.format(moment="collected", event=_DELIVERED.format(table="message_res"), message="reply_to_message_id", now=_NOW),
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One message to a node, and its reply.

    Attributes:
        message: Flower's id of it.
        run, node: Flower's ids, as unsigned numbers.
        step: Flower's group id; of our steps "prepare-3" and the like, of TRAIN the strategy's round.
        kind: Flower's message type.
        sent, fetched, answered, collected: when the ServerApp pushed it, the SuperNode pulled it, the SuperNode began to push the reply and
            the ServerApp pulled that, in seconds since the epoch; None for what has not happened.
    """

    message: str
    run: int
    node: int
    step: str
    kind: str
    sent: float
    fetched: float | None
    answered: float | None
    collected: float | None


@dataclass(frozen=True, slots=True)
class Trip:
    """A round trip: messages of one step, one to each of some nodes.

    Attributes:
        step: as `Passage`.
        passages: by the time of their replies.
    """

    step: str
    passages: tuple[Passage, ...]

    @property
    def sent(self) -> float:
        """When the first message was pushed."""
        return min(passage.sent for passage in self.passages)

    @property
    def last(self) -> Passage:
        """The message whose reply came last: what the step waited for."""
        return max(self.passages, key=lambda passage: passage.collected or 0.0)


class Ledger:
    """The ledger in a SuperLink's database.

    Args:
        database: the file that `flower-superlink --database` names.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    def open(self) -> None:
        """Begins to write down; harmless if it does already.

        Raises:
            LocalError: this is no database of a SuperLink.
        """
        try:
            with closing(sqlite3.connect(self._database, timeout=_BUSY_S)) as connection, connection:
                for statement in _STATEMENTS:
                    connection.execute(statement)
        except sqlite3.Error as error:
            raise LocalError(
                f"messages cannot be counted in {self._database}: {error}", hint="is it the database of a SuperLink?"
            ) from None

    def passages(self) -> list[Passage]:
        """All messages so far, in the order in which they were sent."""
        with closing(sqlite3.connect(self._database, timeout=_BUSY_S)) as connection:
            rows = connection.execute(
                "SELECT message_id, run, node, step, kind, sent, fetched, answered, collected FROM stfed_ledger ORDER BY sent, rowid"
            ).fetchall()
        return [Passage(message, run % (1 << 64), node % (1 << 64), *rest) for message, run, node, *rest in rows]

    def trips(self, run: int | None = None) -> list[Trip]:
        """The round trips in order: messages one after the other of the same run, step and kind, each to another node.

        Args:
            run: only of this run.
        """
        trips: list[tuple[str, list[Passage]]] = []
        before: tuple[int, str, str] | None = None
        for passage in self.passages():
            if run is not None and passage.run != run:
                continue
            # Flower's SecAgg+ has the same step name for all its trips of a round: a node that is written to again begins the next one.
            if before != (before := (passage.run, passage.step, passage.kind)) or passage.node in {one.node for one in trips[-1][1]}:
                trips.append((passage.step, []))
            trips[-1][1].append(passage)
        return [Trip(step, tuple(sorted(group, key=lambda passage: passage.answered or math.inf))) for step, group in trips]
