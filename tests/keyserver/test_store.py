"""Nonces work once, whoever asks, whatever dies; allowances give what they say and no more."""

import multiprocessing
import sqlite3
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.keyserver.store import Allowance, Dry, Store
from tests.strangers import give_away, stolen_journal


def issue(store: Store, nonce: bytes, now: float = 0.0, at_most: int = 100) -> bool:
    return store.issue(nonce, now=now, expires=now + 60, at_most=at_most)


def test_a_nonce_works_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    assert issue(store, b"a")
    assert store.burn(b"a", now=1)
    assert not store.burn(b"a", now=1)
    assert not store.burn(b"never given out", now=1)


def test_a_nonce_expires_and_is_burned_by_trying(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    issue(store, b"a")
    issue(store, b"b")
    assert store.burn(b"a", now=60)
    assert not store.burn(b"b", now=60.1)
    assert not store.burn(b"b", now=0)  # nor after the clock was set back


def test_a_used_nonce_stays_used_after_a_restart_and_an_unused_one_works(tmp_path: Path) -> None:
    first = Store(tmp_path / "db")
    issue(first, b"used")
    issue(first, b"unused")
    assert first.burn(b"used", now=0)
    second = Store(tmp_path / "db")  # the first was not even closed
    assert not second.burn(b"used", now=0)
    assert second.burn(b"unused", now=0)


def test_the_number_of_nonces_is_bounded_and_expired_ones_make_room(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    assert all(issue(store, bytes([i]), at_most=3) for i in range(3))
    assert not issue(store, b"x", at_most=3)
    assert not store.burn(b"x", now=0)
    assert issue(store, b"x", now=61, at_most=3)


def _burn_all(path: Path, count: int, out: "multiprocessing.Queue[list[int]]") -> None:
    store = Store(path)
    out.put([index for index in range(count) if store.burn(index.to_bytes(4), now=0)])


def test_several_processes_burn_each_nonce_once_between_them(tmp_path: Path) -> None:
    count = 40
    store = Store(tmp_path / "db")
    for index in range(count):
        issue(store, index.to_bytes(4))
    store.close()
    spawn = multiprocessing.get_context("spawn")
    out = spawn.Queue()
    processes = [spawn.Process(target=_burn_all, args=(tmp_path / "db", count, out)) for _ in range(3)]
    for process in processes:
        process.start()
    burned = [index for _ in processes for index in out.get(timeout=60)]
    for process in processes:
        process.join(timeout=60)
    assert sorted(burned) == list(range(count))


def test_an_allowance_holds_a_minute_and_fills_evenly(tmp_path: Path) -> None:
    store, alice = Store(tmp_path / "db"), (Allowance("alice", 3),)
    assert [store.take(alice, now=0) for _ in range(3)] == [None] * 3
    assert store.take(alice, now=19) == Dry("alice", first=True)
    assert store.take(alice, now=19) == Dry("alice", first=False)
    assert store.take(alice, now=20.001) is None
    assert store.take(alice, now=20.001) == Dry("alice", first=True)
    assert store.take((Allowance("bob", 3),), now=20) is None
    assert [store.take(alice, now=1000) for _ in range(4)] == [None] * 3 + [Dry("alice", first=True)]


def test_of_several_allowances_all_give_or_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    one, two = Allowance("one", 1), Allowance("two", 5)
    assert store.take((two, one), now=0) is None
    for _ in range(10):
        dry = store.take((two, one), now=0)
        assert dry is not None
        assert dry.name == "one"
    assert [store.take((two,), now=0) for _ in range(5)] == [None] * 4 + [Dry("two", first=True)]


def test_who_is_refused_by_the_total_leaves_no_row(tmp_path: Path) -> None:
    """Else a flood from many addresses would fill the disk."""
    store = Store(tmp_path / "db")
    total = Allowance("total", 1)
    assert store.take((total,), now=0) is None
    for number in range(20):
        assert store.take((Allowance(f"address {number}", 10), total), now=0)
    with sqlite3.connect(tmp_path / "db") as connection:
        assert connection.execute("SELECT name FROM buckets").fetchall() == [("total",)]


def test_full_allowances_are_forgotten_and_a_clock_set_back_fills_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.take((Allowance("gone", 10),), now=0)
    store.take((Allowance("here", 1),), now=1000)
    with sqlite3.connect(tmp_path / "db") as connection:
        assert connection.execute("SELECT name FROM buckets").fetchall() == [("here",)]
    assert store.take((Allowance("here", 1),), now=500) == Dry("here", first=True)


def test_a_clock_set_back_takes_nothing_away_either(tmp_path: Path) -> None:
    """Else everybody would be locked out until the old time comes round again."""
    store, two = Store(tmp_path / "db"), (Allowance("two", 2),)
    assert store.take(two, now=1000) is None
    assert store.take(two, now=500) is None
    assert store.take(two, now=500) == Dry("two", first=True)
    assert store.take(two, now=531) is None


@settings(max_examples=25)  # each take is synced to the disk
@given(st.integers(1, 30), st.lists(st.floats(0, 30), max_size=40))
def test_no_span_of_time_gets_more_than_its_share(per_minute: int, pauses: list[float]) -> None:
    """Of any t seconds, at most a full bucket and what flows into it meanwhile."""
    now, given_at = 0.0, []
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "db")
        for pause in pauses:
            now += pause
            if store.take((Allowance("x", per_minute),), now=now) is None:
                given_at.append(now)
        store.close()
    for first, begin in enumerate(given_at):
        for count, end in enumerate(given_at[first:], 1):
            assert count <= per_minute + (end - begin) * per_minute / 60 + 1e-6


def test_the_file_is_private_and_other_files_are_refused(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600
    (tmp_path / "text").write_text("this is no database at all, and longer than a header of one has to be")
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with sqlite3.connect(tmp_path / "newer") as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    for name, says in (
        ("text", "not a database"),
        ("other", "no database of"),
        ("newer", "no database of"),
        ("no/where", "cannot be used"),
    ):
        (tmp_path / name).chmod(0o600) if (tmp_path / name).exists() else None
        with pytest.raises(LocalError, match=says):
            Store(tmp_path / name)


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    """An old copy put in its place would bring used nonces back."""
    store = Store(tmp_path / "db")
    issue(store, b"a")
    (tmp_path / "copy").write_bytes((tmp_path / "db").read_bytes())
    assert store.burn(b"a", now=0)
    (tmp_path / "copy").replace(tmp_path / "db")
    with pytest.raises(LocalError, match="replaced"):
        store.burn(b"a", now=0)


# Other hands

BRINGS_BACK = "CREATE TRIGGER back AFTER DELETE ON nonces BEGIN INSERT INTO nonces VALUES (old.nonce, old.expires); END"


@pytest.mark.parametrize(
    "statement",
    [
        BRINGS_BACK,
        "CREATE TABLE more (x)",
        "CREATE VIEW more AS SELECT * FROM nonces",
        "DROP INDEX nonces_by_time",
        "ALTER TABLE buckets ADD COLUMN more",
    ],
)
def test_changed_tables_are_refused_while_it_is_open_and_when_it_is_opened(statement: str, tmp_path: Path) -> None:
    """A trigger could bring a nonce back when it is used."""
    store = Store(tmp_path / "db")
    assert issue(store, b"a")
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute(statement)
    connection.close()
    for use in (lambda: store.burn(b"a", now=0), lambda: issue(store, b"b"), lambda: store.take((Allowance("x", 1),), now=0)):
        with pytest.raises(LocalError, match="tables or triggers of the key service's database"):
            use()
    with pytest.raises(LocalError, match="tables or triggers of the key service's database"):
        Store(tmp_path / "db")


def test_a_trigger_under_a_reserved_name(tmp_path: Path) -> None:
    """`writable_schema` can put one where a search by name would not look."""
    store = Store(tmp_path / "db")
    issue(store, b"a")
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("PRAGMA writable_schema=ON")
        hidden = BRINGS_BACK.replace(" back ", " sqlite_back ")
        connection.execute("INSERT INTO sqlite_master VALUES ('trigger', 'sqlite_back', 'nonces', 0, ?)", (hidden,))
    connection.close()
    with pytest.raises(LocalError, match="tables or triggers"):
        store.burn(b"a", now=0)
    with pytest.raises(LocalError, match="tables or triggers"):
        Store(tmp_path / "db")


def test_a_strangers_journal_brings_no_nonce_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    store, beside = Store(folder / "db"), folder / "db-journal"
    issue(store, b"a")
    journal = stolen_journal(folder / "db", tmp_path)
    assert store.burn(b"a", now=0)
    beside.write_bytes(journal)
    assert store.burn(b"a", now=0), "a journal that brings nothing back tests nothing"
    beside.write_bytes(journal)
    give_away(beside, monkeypatch)
    for use in (lambda: store.burn(b"a", now=0), lambda: Store(folder / "db")):
        with pytest.raises(LocalError, match="db-journal belongs to another user"):
            use()
    beside.unlink()
    assert not store.burn(b"a", now=0)


def test_a_database_that_others_could_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "db"
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(LocalError, match="may write to its folder"):
        Store(path)
    assert list(path.parent.iterdir()) == []
    path.parent.chmod(0o755)
    store = Store(path)
    path.chmod(0o660)
    with pytest.raises(LocalError, match="others than its owner may change it"):
        store.burn(b"a", now=0)
    path.chmod(0o600)
    give_away(path, monkeypatch)
    for use in (lambda: store.burn(b"a", now=0), lambda: Store(path)):
        with pytest.raises(LocalError, match="belongs to another user"):
            use()
