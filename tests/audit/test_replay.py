"""Every way to change a log's file, and what `verify` says about it. Appending afterwards must not hide any of them."""

import shutil
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from stfed.audit import AuditLog, Kind, TamperedLogError, UntrustedError, merkle
from stfed.audit.events import Entry
from stfed.crypto.identity import BadSignatureError
from stfed.errors import LocalError, StfedError

from .material import ANNA_KEY, EVE, KEY, LOG_SIGNER, START, edit, event, filled, rows, witness

FORGED = Entry.make(0, START, event(99)).data
"""An entry of good form that nobody appended."""


@cache
def _bytes_of_a_log() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with filled(path, 0) as log:
            for number in range(11):
                if number in (0, 4, 9):
                    log.checkpoint(LOG_SIGNER)
                log.append(event(number))
        return path.read_bytes()


def a_log(tmp_path: Path) -> Path:
    """Eleven entries, with checkpoints of 0, 4 and 9."""
    (tmp_path / "log").write_bytes(_bytes_of_a_log())
    return tmp_path / "log"


def verify(path: Path, **arguments: Any) -> Any:
    with AuditLog(path, create=False) as log:
        return log.verify(**arguments)


def test_a_good_log(tmp_path: Path) -> None:
    report = verify(a_log(tmp_path), trusted_keys=[KEY])
    assert (report.size, report.checkpoints, report.covered, report.signed) == (11, 3, 9, True)
    assert report.kinds == {Kind.OPEN: 11}
    assert (report.last - report.first).total_seconds() == 10
    with AuditLog(tmp_path / "log") as log:
        assert report.root == log.root()
    assert not verify(tmp_path / "log").signed


def test_an_empty_log(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        report = log.verify(known=log.checkpoint(LOG_SIGNER))
    assert (report.size, report.root, report.first, report.last, report.kinds) == (0, merkle.EMPTY_ROOT, None, None, {})


def swap(first: int, second: int) -> tuple[str, ...]:
    """Moves two entries to each other's place."""
    moves = ((first, -1), (second, first), (-1, second))
    return tuple(f"UPDATE entries SET position = {to} WHERE position = {at}" for at, to in moves)


DAMAGES: dict[str, tuple[tuple[str | tuple[str, tuple[Any, ...]], ...], int | None, str]] = {
    "entry changed": ((("UPDATE entries SET data = ? WHERE position = 5", (FORGED,)),), 5, "not what was appended"),
    "first entry changed": ((("UPDATE entries SET data = ? WHERE position = 0", (FORGED,)),), 0, "not what was appended"),
    "last entry changed": ((("UPDATE entries SET data = ? WHERE position = 10", (FORGED,)),), 10, "not what was appended"),
    "entry is no JSON": (("UPDATE entries SET data = X'00' WHERE position = 5",), 5, "not JSON"),
    "entry is text": (("UPDATE entries SET data = 'text' WHERE position = 5",), 5, "missing"),
    "entry changed with its hash": (
        (
            ("UPDATE entries SET data = ? WHERE position = 5", (FORGED,)),
            ("UPDATE hashes SET hash = ? WHERE position = ?", (merkle.leaf_hash(FORGED), merkle.stored_index(0, 5))),
        ),
        5,
        "one of the 2 that end with it",
    ),
    "entry deleted": (("DELETE FROM entries WHERE position = 5",), 5, "entry 5 is missing"),
    "first entry deleted": (("DELETE FROM entries WHERE position = 0",), 0, "entry 0 is missing"),
    "entry deleted, the rest moved up": (
        (
            "DELETE FROM entries WHERE position = 5",
            *(f"UPDATE entries SET position = {at - 1} WHERE position = {at}" for at in range(6, 11)),
        ),
        5,
        "not what was appended",
    ),
    "entry inserted": (
        (
            *(f"UPDATE entries SET position = {at + 1} WHERE position = {at}" for at in range(10, 4, -1)),
            ("INSERT INTO entries VALUES (5, ?)", (FORGED,)),
        ),
        5,
        "not what was appended",
    ),
    "two entries swapped": (swap(3, 7), 3, "not what was appended"),
    "entry added without hashes": ((("INSERT INTO entries VALUES (11, ?)", (FORGED,)),), 11, "not what was appended"),
    "entry before the first": ((("INSERT INTO entries VALUES (-1, ?)", (FORGED,)),), None, "belong to no entry"),
    "last entry deleted": (("DELETE FROM entries WHERE position = 10",), 10, "hashes of entries that it has not"),
    "all entries deleted": (("DELETE FROM entries",), 0, "cut off"),
    "leaf hash changed": ((("UPDATE hashes SET hash = ? WHERE position = ?", (bytes(32), merkle.stored_index(0, 6))),), 6, "stored hash"),
    "node changed": ((("UPDATE hashes SET hash = ? WHERE position = ?", (bytes(32), merkle.stored_index(2, 1))),), 7, "one of the 4"),
    "node is short": ((("UPDATE hashes SET hash = ? WHERE position = ?", (b"", merkle.stored_index(3, 0))),), 7, "one of the 8"),
    "node is text": (("UPDATE hashes SET hash = 'text' WHERE position = 3",), 2, "stored hash"),
    "node deleted": ((("DELETE FROM hashes WHERE position = ?", (merkle.stored_index(1, 2),)),), 5, "one of the 2"),
    "hashes deleted": (("DELETE FROM hashes",), 0, "stored hash"),
    "hash before the first": ((("INSERT INTO hashes VALUES (-1, ?)", (bytes(32),)),), None, "belong to no entry"),
    "hash behind the last": ((("INSERT INTO hashes VALUES (99, ?)", (bytes(32),)),), 11, "hashes of entries that it has not"),
    "cut off below a checkpoint": (
        ("DELETE FROM entries WHERE position >= 8", f"DELETE FROM hashes WHERE position >= {merkle.stored_count(8)}"),
        8,
        "it was cut off",
    ),
    "checkpoint is none": (("UPDATE checkpoints SET note = 'x' WHERE size = 4",), None, "a checkpoint in the log is none"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named(name: str, tmp_path: Path) -> None:
    path = a_log(tmp_path)
    statements, index, says = DAMAGES[name]
    edit(path, *statements)
    for keys in ((), (KEY,)):
        with pytest.raises(TamperedLogError) as caught:
            verify(path, trusted_keys=keys)
        assert says in str(caught.value)
        assert caught.value.index == index


@pytest.mark.parametrize("name", DAMAGES)
def test_appending_does_not_hide_damage(name: str, tmp_path: Path) -> None:
    path = a_log(tmp_path)
    statements, index, _ = DAMAGES[name]
    edit(path, *statements)
    with AuditLog(path) as log:
        log._database._connection.execute("PRAGMA synchronous=OFF")
        for number in range(6):
            try:
                log.append(event(number))
                log.checkpoint(LOG_SIGNER)
            except StfedError:
                break
        with pytest.raises(TamperedLogError) as caught:
            log.verify(trusted_keys=[KEY])
    assert caught.value.index == index


def rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Changes the entries and makes all hashes anew, as somebody who has read `merkle`: only checkpoints can tell."""
    entries = change([data for (data,) in rows(path, "SELECT data FROM entries ORDER BY position")])
    stored: list[bytes] = []

    def read(level: int, position: int) -> bytes:
        return stored[merkle.stored_index(level, position)]

    for index, data in enumerate(entries):
        stored += merkle.completed(merkle.leaf_hash(data), index, read)
    edit(
        path,
        "DELETE FROM entries",
        "DELETE FROM hashes",
        *(("INSERT INTO entries VALUES (?, ?)", (index, data)) for index, data in enumerate(entries)),
        *(("INSERT INTO hashes VALUES (?, ?)", (index, value)) for index, value in enumerate(stored)),
    )


@pytest.mark.parametrize(("at", "first"), [(0, 0), (3, 0), (4, 4), (8, 4)])
def test_history_rewritten_before_a_checkpoint(at: int, first: int, tmp_path: Path) -> None:
    path = a_log(tmp_path)
    rewritten(path, lambda entries: [*entries[:at], FORGED, *entries[at + 1 :]])
    for keys in ((), (KEY,)):
        with pytest.raises(TamperedLogError, match="history was rewritten") as caught:
            verify(path, trusted_keys=keys)
        assert caught.value.index == first
    with AuditLog(path) as log:
        assert log.append(event()) == 11
        with pytest.raises(TamperedLogError, match="last checkpoint"):
            log.checkpoint(LOG_SIGNER)


def test_history_rewritten_behind_the_last_checkpoint_is_not_found_here(tmp_path: Path) -> None:
    """Nobody has signed those entries: `covered` says so, and a checkpoint taken in time finds it."""
    path = a_log(tmp_path)
    with AuditLog(path) as log:
        shutil.copy(path, tmp_path / "copy")
        known = log.checkpoint(LOG_SIGNER)
    rewritten(tmp_path / "copy", lambda entries: [*entries[:10], FORGED])
    assert verify(tmp_path / "copy", trusted_keys=[KEY]).covered == 9
    with pytest.raises(TamperedLogError, match="entries 9 to 10") as caught:
        verify(tmp_path / "copy", known=known)
    assert caught.value.index == 9


def test_an_older_copy_is_found_by_whoever_has_a_later_checkpoint(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    shutil.copy(path, tmp_path / "copy")
    with AuditLog(path) as log:
        log.append(event())
        known = log.checkpoint(LOG_SIGNER)
        log.verify(known=known)
    assert verify(tmp_path / "copy", trusted_keys=[KEY]).size == 11
    for given in (known, known.encode(), [known]):
        with pytest.raises(TamperedLogError, match="older copy") as caught:
            verify(tmp_path / "copy", known=given)
        assert caught.value.index == 11


def test_checkpoints_taken_away_are_missed_only_by_those_who_know_them(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    known = rows(path, "SELECT note FROM checkpoints WHERE size = 9")[0][0]
    edit(path, "DELETE FROM checkpoints")
    rewritten(path, lambda entries: [FORGED, *entries[1:]])
    report = verify(path, trusted_keys=[KEY])
    assert (report.checkpoints, report.covered) == (0, 0)
    with pytest.raises(TamperedLogError, match="history was rewritten"):
        verify(path, trusted_keys=[KEY], known=known)


def test_a_checkpoint_that_somebody_else_signed(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    with AuditLog(path) as log:
        log.checkpoint(EVE)
        assert log.verify().checkpoints == 4
        with pytest.raises(UntrustedError):
            log.verify(trusted_keys=[KEY])
        with pytest.raises(UntrustedError):
            log.verify(trusted_keys=[ANNA_KEY])


def test_a_checkpoint_whose_text_was_changed(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    note = rows(path, "SELECT note FROM checkpoints WHERE size = 9")[0][0]
    with AuditLog(path) as log:
        forged = str(note).replace("\n9\n", "\n10\n")
        edit(path, ("UPDATE checkpoints SET note = ?, size = 10 WHERE size = 9", (forged,)))
        with pytest.raises(BadSignatureError):
            log.verify(trusted_keys=[KEY])
        with pytest.raises(TamperedLogError):
            log.verify()


def test_a_checkpoint_of_another_log(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    with filled(tmp_path / "other", 3, origin="other") as other, AuditLog(path) as log:
        for keys in ((), (KEY,)):
            with pytest.raises(UntrustedError, match="'other'"):
                log.verify(trusted_keys=keys, known=other.checkpoint(LOG_SIGNER))


def test_known_checkpoints_are_verified_too(tmp_path: Path) -> None:
    with AuditLog(a_log(tmp_path)) as log:
        cosigned = witness(tmp_path / "seen").cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
        assert log.verify(trusted_keys=[KEY, ANNA_KEY], known=cosigned).covered == 11
        with pytest.raises(BadSignatureError):
            log.verify(trusted_keys=[KEY, ANNA_KEY], known=cosigned.replace("\n11\n", "\n10\n"))


def test_a_file_with_broken_pages(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        for number in range(200):
            log.append(event(number))
    data = bytearray((tmp_path / "log").read_bytes())
    found = 0
    for page in range(1, len(data) // 4096):
        broken = bytes(data[: page * 4096]) + bytes(64) + bytes(data[page * 4096 + 64 :])
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises((TamperedLogError, LocalError)):
            verify(tmp_path / "broken")
        found += 1
    assert found > 10
    (tmp_path / "broken").write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises((TamperedLogError, LocalError)):
        verify(tmp_path / "broken")


def test_a_page_that_no_table_has(tmp_path: Path) -> None:
    """What SQLite itself finds wrong with a file counts, though no query would show it."""
    data = bytearray(_bytes_of_a_log() + bytes(4096))
    data[28:32] = (len(data) // 4096).to_bytes(4, "big")  # the header's count of pages
    (tmp_path / "log").write_bytes(data)
    with pytest.raises(TamperedLogError, match="never used"):
        verify(tmp_path / "log")


def test_tables_that_were_changed(tmp_path: Path) -> None:
    statements = (
        "DROP TRIGGER entries_no_delete",
        "CREATE TABLE more (x)",
        "CREATE VIEW seen AS SELECT * FROM entries",
        "CREATE TRIGGER hide AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE position = 0; END",
        "INSERT INTO log VALUES ('second')",
    )
    for number, statement in enumerate(statements):
        path = tmp_path / str(number)
        filled(path, 1).close()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(statement)
        connection.close()
        with pytest.raises(TamperedLogError, match="were changed"):
            AuditLog(path)


def test_a_trigger_that_swallows_entries_under_a_reserved_name(tmp_path: Path) -> None:
    """`sqlite_...` is no name that SQL gives, but SQLite runs what stands under it; planted before or while the log is open."""
    for number, when in enumerate(("before", "while open")):
        path = tmp_path / str(number)
        log = filled(path, 1)
        if when == "before":
            log.close()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema=ON")
        sql = "CREATE TRIGGER sqlite_x BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END"
        connection.execute("INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql) VALUES('trigger','sqlite_x','entries',0,?)", (sql,))
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        connection.execute(f"PRAGMA schema_version={version + 1}")
        connection.close()
        with pytest.raises(TamperedLogError, match="were changed"):
            (AuditLog(path) if when == "before" else log).append(event())
