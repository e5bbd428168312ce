"""Other hands on a log: who appends relies on a file that is theirs alone; who reads takes anybody's, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from stfed.audit import AuditLog, TamperedLogError
from stfed.audit.database import SCHEMA
from stfed.errors import LocalError
from tests.strangers import give_away, stolen_journal, stolen_wal

from .material import KEY, LOG_SIGNER, ORIGIN, event, filled, rows

TRIGGERS = tuple(statement.split()[2] for statement in SCHEMA if statement.startswith("CREATE TRIGGER"))


def in_a_shared_folder(tmp_path: Path, mode: int = 0o1777) -> Path:
    """Where a log is to be, in a folder that everybody may make files in."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    return folder / "log"


def planted(tmp_path: Path) -> tuple[Path, Path, bytes]:
    """A log of two entries, the name of its journal, and what a stranger would put there to cut off the second."""
    path = in_a_shared_folder(tmp_path)
    with filled(path, 1) as log:
        journal = stolen_journal(path, tmp_path, drop=TRIGGERS)
        log.append(event(1))
    return path, path.with_name("log-journal"), journal


def test_the_stolen_journal_does_what_it_is_for(tmp_path: Path) -> None:
    """Else the tests below would test nothing: whoever opens the log without our checks loses an entry."""
    path, beside, journal = planted(tmp_path)
    beside.write_bytes(journal)
    assert rows(path, "SELECT count(*) FROM entries") == [(1,)]


def test_a_strangers_journal_does_not_undo_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, beside, journal = planted(tmp_path)
    with AuditLog(path) as log:
        beside.write_bytes(journal)
        give_away(beside, monkeypatch)
        before = path.read_bytes()
        for use in (lambda: AuditLog(path), lambda: log.size, lambda: log.append(event()), lambda: log.checkpoint(LOG_SIGNER), log.verify):
            with pytest.raises(LocalError, match="log-journal belongs to another user") as caught:
                use()
            assert "remove it" in str(caught.value.hint)
        with pytest.raises(LocalError, match="killed before it was done, or somebody put a -journal beside it"):
            AuditLog(path, read_only=True)
        assert path.read_bytes() == before
        assert beside.read_bytes() == journal
        beside.unlink()
        assert log.verify().size == 2


def test_a_strangers_wal_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, beside = in_a_shared_folder(tmp_path), tmp_path / "shared" / "log-wal"
    filled(path, 1).close()
    wal = stolen_wal(path, tmp_path, "INSERT INTO entries VALUES (1, X'00')")
    with AuditLog(path) as log, AuditLog(path, read_only=True) as reader:
        before = path.read_bytes()
        beside.write_bytes(wal)
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            assert connection.execute("SELECT count(*) FROM entries").fetchone() == (2,), "a wal that does nothing tests nothing"
        connection.close()
        path.with_name("log-shm").unlink(missing_ok=True)
        give_away(beside, monkeypatch)
        for use in (lambda: AuditLog(path), lambda: log.size, lambda: log.append(event())):
            with pytest.raises(LocalError, match="log-wal belongs to another user"):
                use()
        for read in (lambda: AuditLog(path, read_only=True), lambda: reader.size, lambda: reader.root()):
            with pytest.raises(LocalError, match="log-wal, which no log has"):
                read()
        assert path.read_bytes() == before
        beside.unlink()
        assert log.size == reader.size == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path, patch: path.chmod(0o660), "others than its owner may change it"),
        (lambda path, patch: path.parent.chmod(0o775), "may write to its folder"),
        (give_away, "log is relied on, and belongs to another user"),
        (lambda path, patch: give_away(path.parent, patch), "a folder of another user"),
    ],
)
def test_who_appends_relies_on_a_file_of_their_own(
    change: Callable[[Path, pytest.MonkeyPatch], None], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at before each transaction: a log may be open for months. Who reads has it as evidence, perhaps from somebody else."""
    path = in_a_shared_folder(tmp_path, 0o755)
    with filled(path, 2) as log:
        log.checkpoint(LOG_SIGNER)
        change(path, monkeypatch)
        for use in (lambda: AuditLog(path), lambda: log.append(event()), lambda: log.checkpoint(LOG_SIGNER), lambda: log.size):
            with pytest.raises(LocalError, match=says):
                use()
    with AuditLog(path, read_only=True) as reader:
        assert reader.verify(trusted_keys=[KEY]).size == 2


def test_no_log_is_made_where_it_would_be_refused(tmp_path: Path) -> None:
    path = in_a_shared_folder(tmp_path, 0o777)
    with pytest.raises(LocalError, match="may write to its folder"):
        AuditLog(path)
    assert list(path.parent.iterdir()) == []


# Reading


def test_reading_changes_nothing_and_makes_nothing(tmp_path: Path) -> None:
    path = in_a_shared_folder(tmp_path, 0o777)
    path.parent.chmod(0o755)
    with filled(path, 3) as log:
        checkpoint = log.checkpoint(LOG_SIGNER)
    path.with_name("log-journal").unlink()
    path.chmod(0o444)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    with AuditLog(path, read_only=True, origin=ORIGIN) as reader:
        assert reader.verify(trusted_keys=[KEY], known=checkpoint).size == 3
        assert reader.inclusion_proof(1, reader.latest_checkpoint() or "")
        assert reader.cosign_request(0, checkpoint)
        assert len(list(reader.search(kind="open"))) == 3
        writes = (lambda: reader.append(event()), lambda: reader.checkpoint(LOG_SIGNER), lambda: reader.add_cosignatures(checkpoint, [KEY]))
        for write in writes:
            with pytest.raises(LocalError, match="opened to be read only"):
                write()
        assert list(path.parent.iterdir()) == [path]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(path.parent.iterdir()) == [path]


def test_a_log_that_is_not_there_is_not_made_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no audit log"):
        AuditLog(tmp_path / "log", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_log_is_found_by_who_only_reads(tmp_path: Path) -> None:
    filled(tmp_path / "log", 1).close()
    with sqlite3.connect(tmp_path / "log") as connection:
        connection.execute("CREATE TRIGGER more AFTER INSERT ON entries BEGIN SELECT 1; END")
    connection.close()
    with pytest.raises(TamperedLogError, match="tables or triggers"):
        AuditLog(tmp_path / "log", read_only=True)


def test_readers_and_a_writer_at_once(tmp_path: Path) -> None:
    """The journal of a writer who lives is no obstacle: only one that nobody will finish is."""
    with filled(tmp_path / "log", 2) as log, AuditLog(tmp_path / "log", read_only=True) as reader:
        with log._database.writing() as connection:
            connection.execute("INSERT INTO entries VALUES (2, X'00')")
            assert (tmp_path / "log-journal").stat().st_size > 0
            assert reader.size == 2
            with AuditLog(tmp_path / "log", read_only=True) as another:
                assert another.verify().size == 2
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
        log.append(event())
        assert reader.size == 3
