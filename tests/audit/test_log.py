import os
import sqlite3
import stat
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from stfed.audit import (
    AuditLog,
    ConsistencyProof,
    Event,
    InclusionProof,
    Kind,
    ProofError,
    SignedCheckpoint,
    TamperedLogError,
    UntrustedError,
    database,
    merkle,
    open_log,
    record,
)
from stfed.crypto.identity import BadSignatureError
from stfed.errors import LocalError, MalformedError

from .material import EVE, KEY, LOG_SIGNER, ORIGIN, START, event, filled, witness


def test_what_is_appended_is_there(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as log:
        assert log.size == 0
        assert log.root() == merkle.EMPTY_ROOT
        assert [log.append(event(number)) for number in range(3)] == [0, 1, 2]
        assert log.size == 3
        assert [entry.event for entry in log.entries()] == [event(number) for number in range(3)]
        assert log.entry(1).event == event(1)
        assert [entry.index for entry in log.entries(1, 99)] == [1, 2]
        for index in (-1, 3):
            with pytest.raises(LocalError, match="none of number"):
                log.entry(index)
        assert log.root(2) != log.root(3) == log.root()
        with pytest.raises(LocalError, match="not 4"):
            log.root(4)


def test_a_log_stays_what_it_is_when_it_is_opened_again(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 5) as log:
        root = log.root()
    with AuditLog(tmp_path / "log", create=False) as log:
        assert (log.origin, log.size, log.root()) == (ORIGIN, 5, root)
        assert log.append(event()) == 5
        assert log.verify().size == 6


def test_many_entries_are_read_in_batches(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 1) as log:
        for number in range(1, 1203):
            log.append(event(number))
        assert [entry.index for entry in log.entries(3)] == list(range(3, 1203))
        seen: list[tuple[int, int]] = []
        assert log.verify(progress=lambda done, total: seen.append((done, total))).size == 1203
        assert seen == [(500, 1203), (1000, 1203), (1203, 1203)]


def test_the_file_is_for_its_owner_and_alone(tmp_path: Path) -> None:
    filled(tmp_path / "log", 2).close()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "log-journal"}
    with AuditLog(tmp_path / "log") as log:
        pragmas = [log._database._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["truncate", 2]


def test_the_journal_is_for_the_owner_too(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 1) as log, log._database.writing() as connection:
        connection.execute("INSERT INTO entries VALUES (7, X'00')")
        assert stat.S_IMODE((tmp_path / "log-journal").stat().st_mode) == 0o600
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")


def test_origins(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as log:
        assert log.origin.startswith("stfed/audit/")
        assert len(log.origin) == len("stfed/audit/") + 16
        AuditLog(tmp_path / "log", origin=log.origin).close()
    with pytest.raises(LocalError, match="not 'other'"):
        AuditLog(tmp_path / "log", origin="other")
    with pytest.raises(LocalError, match="origin"):
        AuditLog(tmp_path / "bad", origin="two words")
    assert not (tmp_path / "bad").exists()


def test_of_two_who_make_a_file_the_first_has_made_it(tmp_path: Path) -> None:
    """The second looked before the first was done."""
    filled(tmp_path / "log", 2).close()
    database._make(tmp_path / "log", "second")
    with AuditLog(tmp_path / "log") as log:
        assert (log.origin, log.size) == (ORIGIN, 2)
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "log-journal"}


def test_files_that_are_no_log(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 100)
    (tmp_path / "empty").touch()
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE entries (position INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name in ("text", "empty", "other"):
        with pytest.raises(LocalError, match="no audit log"):
            AuditLog(tmp_path / name)
    for name in ("folder", "pipe"):
        with pytest.raises(LocalError, match="not a plain file"):
            AuditLog(tmp_path / name)
    for path in (tmp_path / "dangling", tmp_path / "none" / "log"):
        with pytest.raises(LocalError, match="there is no audit log"):
            AuditLog(path)
    with pytest.raises(LocalError, match="there is no audit log"):
        AuditLog(tmp_path / "missing", create=False)
    assert not (tmp_path / "missing").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_a_log_of_a_newer_version(tmp_path: Path) -> None:
    filled(tmp_path / "log", 1).close()
    sqlite3.connect(tmp_path / "log").execute("PRAGMA user_version=2")
    with pytest.raises(LocalError, match="newer"):
        AuditLog(tmp_path / "log")


def test_the_triggers_stop_accidents(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 2) as log:
        log.checkpoint(LOG_SIGNER)
    connection = sqlite3.connect(tmp_path / "log")
    for statement in ("DELETE FROM entries", "UPDATE hashes SET hash = X''", "DELETE FROM checkpoints", "UPDATE log SET origin = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            connection.execute(statement)


def test_the_clock_is_read_for_each_entry(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 3) as log:
        assert [entry.time for entry in log.entries()] == [START + timedelta(seconds=number) for number in range(3)]


# Checkpoints and proofs.


def test_checkpoints(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 3) as log:
        assert log.latest_checkpoint() is None
        first = log.checkpoint(LOG_SIGNER)
        assert log.checkpoint(LOG_SIGNER) == first == log.latest_checkpoint()
        signed = SignedCheckpoint.parse(first)
        signed.verify([KEY])
        assert (signed.origin, signed.size, signed.root) == (ORIGIN, 3, log.root())
        log.append(event(3))
        second = log.checkpoint(LOG_SIGNER)
        assert log.checkpoints() == [first, second]
        assert log.latest_checkpoint() == second


def test_the_newest_checkpoint_has_everybodys_signature(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 3) as log:
        checkpoint = log.checkpoint(LOG_SIGNER)
        request = log.cosign_request(0, checkpoint)
        anna, ben = witness(tmp_path / "a"), witness(tmp_path / "b", EVE, "b.example")
        for who in (anna, ben):
            log.add_cosignatures(who.cosign(request), [KEY])
        latest = log.latest_checkpoint()
        assert latest is not None
        assert set(SignedCheckpoint.parse(latest).verify([KEY, anna.key, ben.key], quorum=2)) == {anna.key, ben.key}
        assert len(log.checkpoints()) == 3
        assert log.verify(trusted_keys=[KEY, anna.key]).checkpoints == 3


def test_only_checkpoints_of_this_log_are_kept(tmp_path: Path) -> None:
    with (
        filled(tmp_path / "log", 3) as log,
        filled(tmp_path / "other", 2, start=7) as other,
        filled(tmp_path / "x", 2, origin="x") as foreign,
    ):
        with pytest.raises(ProofError, match="not of this log's history"):
            log.add_cosignatures(other.checkpoint(LOG_SIGNER), [KEY])
        with pytest.raises(UntrustedError, match="not of 'stfed/audit/test'"):
            log.add_cosignatures(foreign.checkpoint(LOG_SIGNER), [KEY])
        with pytest.raises(UntrustedError):
            log.add_cosignatures(log.checkpoint(EVE), [KEY])
        with pytest.raises(BadSignatureError):
            log.add_cosignatures(log.checkpoint(LOG_SIGNER).replace("\n3\n", "\n2\n"), [KEY])
        for text in (other.checkpoint(LOG_SIGNER), foreign.checkpoint(LOG_SIGNER)):
            with pytest.raises(ProofError):
                log.inclusion_proof(0, text)
            with pytest.raises(ProofError):
                log.cosign_request(0, text)


def test_every_entry_is_proved_under_every_later_checkpoint(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        heads = []
        for number in range(9):
            log.append(event(number))
            heads.append(log.checkpoint(LOG_SIGNER))
        for head in heads:
            size = SignedCheckpoint.parse(head).size
            for index in range(size):
                text = log.inclusion_proof(index, head)
                assert InclusionProof.parse(text).verify([KEY]) == log.entry(index)
                bare = InclusionProof.parse(log.inclusion_proof(index, head, with_entry=False))
                assert bare.extra is None
                assert bare.verify([KEY], entry=log.entry(index).data).index == index
            with pytest.raises(LocalError, match="no entry"):
                log.inclusion_proof(size, head)
            for old in heads[:size]:
                before = SignedCheckpoint.parse(old)
                proof = ConsistencyProof.parse(log.cosign_request(before.size, head))
                assert proof.hashes == log.consistency_proof(before.size, size)
                proof.verify(before, [KEY])
        with pytest.raises(LocalError, match="did not grow"):
            log.cosign_request(9, heads[3])
        with pytest.raises(LocalError, match="not 10"):
            log.consistency_proof(3, 10)


# Looking for entries.


def test_search(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        log.append(Event(Kind.SEAL, {"actor": "anna", "file_id": "f1", "recipients": "aa-bb,cc-dd"}))
        log.append(Event(Kind.GRANT, {"actor": "ben", "file_id": "f1", "recipient": "ee-ff"}))
        log.append(Event(Kind.OPEN, {"actor": "annabel", "file_id": "f2"}))
        log.append(Event(Kind.OPEN_FAILED, {"actor": None, "reason": "anna"}))

        def found(**filters: object) -> list[int]:
            return [entry.index for entry in log.search(**filters)]  # type: ignore[arg-type]

        assert found() == [0, 1, 2, 3]
        assert found(kind="open") == found(kind=Kind.OPEN) == [2]
        assert found(file_id="f1") == [0, 1]
        assert found(file_id="f") == []
        assert found(actor="anna") == [0, 2]
        assert found(recipient="cc-dd") == [0]
        assert found(recipient="ee") == [1]
        assert found(since=START + timedelta(seconds=1), until=START + timedelta(seconds=3)) == [1, 2]
        assert found(actor="anna", kind="open", file_id="f2") == [2]
        with pytest.raises(LocalError, match="no kind") as caught:
            found(kind="opened")
        assert "open-failed" in str(caught.value)
        with pytest.raises(LocalError, match="time zone"):
            found(since=datetime(2026, 1, 1))


# What `audit=` arguments accept.


def test_open_log(tmp_path: Path) -> None:
    assert open_log(None) is None
    with AuditLog(tmp_path / "log") as log:
        assert open_log(log) is log
    for path in (tmp_path / "log", str(tmp_path / "log")):
        opened = open_log(path)
        assert opened is not None
        assert opened.size == 0
        opened.close()


def test_record(tmp_path: Path) -> None:
    assert record(None, event()) is None
    assert record(tmp_path / "log", event()) == 0
    assert record(str(tmp_path / "log"), event()) == 1
    with AuditLog(tmp_path / "log") as log:
        assert record(log, event()) == 2
        assert log.size == 3


def test_repr_names_file_and_origin(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        assert repr(log) == f"AuditLog({str(tmp_path / 'log')!r}, origin='{ORIGIN}')"


# What goes wrong.


def test_a_locked_file(tmp_path: Path) -> None:
    filled(tmp_path / "log", 1).close()
    with AuditLog(tmp_path / "log", timeout_s=0.1) as log:
        other = sqlite3.connect(tmp_path / "log", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for call in (lambda: log.append(event()), lambda: log.size, lambda: AuditLog(tmp_path / "log", timeout_s=0.1)):
            with pytest.raises(LocalError, match=r"locked by another process for longer than 0\.1 s"):
                call()
        other.execute("ROLLBACK")
        assert log.append(event()) == 1


def test_a_full_disk(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 1) as log:
        (pages,) = log._database._connection.execute("PRAGMA page_count").fetchone()
        log._database._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LocalError, match="the disk is full"):
            log.append(Event(Kind.SEAL, {"reason": "x" * 20000}))
        log._database._connection.execute("PRAGMA max_page_count=1000000")
        assert log.append(event()) == 1
        assert log.verify().size == 2


def test_a_file_that_can_only_be_read(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 1) as log:
        log._database._connection.execute("PRAGMA query_only=ON")
        with pytest.raises(LocalError, match="can only be read"):
            log.append(event())
        assert log.verify().size == 1


def test_a_file_that_was_replaced_while_it_was_open(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 2) as log:
        (tmp_path / "copy").write_bytes((tmp_path / "log").read_bytes())
        (tmp_path / "copy").replace(tmp_path / "log")
        with pytest.raises(LocalError, match="replaced"):
            log.append(event())
        (tmp_path / "log").unlink()
        with pytest.raises(LocalError, match="there is no audit log"):
            log.append(event())


def test_an_event_that_cannot_be_logged_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 1) as log:
        with pytest.raises(LocalError, match="over the limit"):
            log.append(Event(Kind.SEAL, {"reason": "x" * 70000}))
        assert log.append(event()) == 1
        assert log.verify().size == 2


def test_a_closed_log(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", 1)
    log.close()
    log.close()
    with pytest.raises(LocalError, match="closed"):
        log.append(event())


def test_an_entry_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 2) as log:
        with log._database.writing() as connection:
            connection.execute("DROP TRIGGER entries_no_update")
            connection.execute("UPDATE entries SET data = X'00' WHERE position = 1")
        with pytest.raises(MalformedError, match="audit entry 1"):
            log.entry(1)
        with pytest.raises(MalformedError, match="audit entry 1"):
            list(log.entries())
        with pytest.raises(TamperedLogError, match="entry 1"):
            log.verify()


def test_threads_take_turns(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        found: list[int] = []

        def work() -> None:
            found.extend(log.append(event()) for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == list(range(40))
        assert log.verify().size == 40
