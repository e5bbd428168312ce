"""The party's store: private files, nothing secret in them, and an atomic test-and-set between processes that may die at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, RecordDict

from stfed.crypto.kdf import derive
from stfed.crypto.labels import Label
from stfed.errors import LocalError
from stfed.flower.records import describe
from stfed.flower.store import FILE_NAME, SqliteStore, state_dir
from stfed.secagg.client import Prepared, Trained
from stfed.secagg.record import Record
from stfed.secagg.refusals import StateLostError
from stfed.testing import InMemoryGrid
from stfed.testing.node import SimulatedNode
from stfed.testing.parcel import Parcel, pack
from tests.flower import apps
from tests.strangers import give_away

RUN, NODE = (1 << 64) - 5, (1 << 63) + 9


def context(node: int = NODE, state: RecordDict | None = None, **config: Any) -> Context:
    return Context(RUN, node, config, state or RecordDict(), {})


def store_of(folder: Path, ours: Context | None = None) -> SqliteStore:
    return SqliteStore.of(ours or context(), folder)


def write(store: SqliteStore, record: bytes, *, run: int = RUN, epoch: int = 1, round_: int = 0) -> None:
    with store.transaction(run) as transaction:
        transaction.write(epoch, round_, record)


def read(store: SqliteStore, run: int = RUN) -> tuple[tuple[int, int], bytes | None]:
    with store.transaction(run) as transaction:
        return transaction.position(), transaction.read()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


# Files


def test_the_folder_and_the_file_are_the_partys_own_whatever_the_umask() -> None:
    folder = apps.scratch() / "a" / "state"
    with umask(0):
        write(store_of(folder), b"record")
    assert mode_of(folder) == 0o700
    assert mode_of(folder / FILE_NAME) == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_a_symbolic_link_is_refused() -> None:
    folder = apps.scratch()
    other = folder / "other"
    other.write_bytes(b"")
    (folder / FILE_NAME).symlink_to(other)
    with pytest.raises(LocalError, match="cannot be kept in") as caught:
        write(store_of(folder), b"record")
    assert "stfed-state-dir" in str(caught.value.hint)
    assert other.read_bytes() == b""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_may_open_is_refused(mode: int) -> None:
    folder = apps.scratch()
    write(store_of(folder), b"record")
    (folder / FILE_NAME).chmod(mode)
    with pytest.raises(LocalError, match=f"open to others \\(mode {mode:04o}\\)") as caught:
        read(store_of(folder))
    assert caught.value.hint == f"chmod 600 {folder / FILE_NAME}"


def test_a_state_that_others_could_take_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = apps.scratch()
    write(store_of(folder), b"record")
    folder.chmod(0o770)
    with pytest.raises(LocalError, match="may write to its folder"):
        read(store_of(folder))
    folder.chmod(0o700)
    (folder / f"{FILE_NAME}-journal").write_bytes(b"")
    give_away(folder / f"{FILE_NAME}-journal", monkeypatch)
    with pytest.raises(LocalError, match="-journal belongs to another user"):
        read(store_of(folder))


def test_a_folder_that_cannot_be_made_is_named() -> None:
    folder = apps.scratch()
    (folder / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="cannot be kept in"):
        write(store_of(folder / "file" / "state"), b"record")


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is() -> None:
    folder = apps.scratch()
    file = folder / FILE_NAME
    file.write_bytes(b"something else " * 100)
    file.chmod(0o600)
    with pytest.raises(LocalError, match="cannot be used: file is not a database"):
        write(store_of(folder), b"record")
    assert file.read_bytes() == b"something else " * 100


def test_where_the_state_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("STFED_STATE_DIR", raising=False)
    assert state_dir() == tmp_path / ".local" / "state" / "stfed"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_dir({}) == tmp_path / "xdg" / "stfed"
    monkeypatch.setenv("STFED_STATE_DIR", str(tmp_path / "env"))
    assert state_dir({"partition-id": 1}) == tmp_path / "env"
    assert state_dir({"stfed-state-dir": str(tmp_path / "node")}) == tmp_path / "node"
    assert SqliteStore.of(context()).path == tmp_path / "env" / FILE_NAME


# Transactions


def test_what_was_written_is_read_by_the_next_process() -> None:
    folder, ours = apps.scratch(), context()
    assert read(store_of(folder, ours)) == ((0, 0), None)
    write(store_of(folder, ours), b"one", epoch=1, round_=0)
    write(store_of(folder, ours), b"two", epoch=2, round_=7)
    assert read(store_of(folder, ours)) == ((2, 7), b"two")


def test_an_error_leaves_nothing() -> None:
    folder, ours = apps.scratch(), context()
    write(store_of(folder, ours), b"one")

    def fail() -> None:
        with store_of(folder, ours).transaction(RUN) as transaction:
            assert transaction.add_content(1, bytes(32))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store_of(folder, ours).transaction(RUN) as transaction:
        assert transaction.add_content(1, bytes(32))
        assert not transaction.add_content(1, bytes(32))
        assert transaction.add_content(2, bytes(32))


def test_a_second_transaction_waits_for_the_first_even_to_read() -> None:
    """A test-and-set needs it: two that read the same state would both find the round unused."""
    folder, ours = apps.scratch(), context()
    write(store_of(folder, ours), b"one")
    entered, found = threading.Event(), []

    def second() -> None:
        with store_of(folder, ours).transaction(RUN) as transaction:
            entered.set()
            found.append(transaction.position())

    waiting = threading.Thread(target=second)
    with store_of(folder, ours).transaction(RUN) as transaction:
        assert transaction.position() == (1, 0)
        waiting.start()
        assert not entered.wait(0.3)
        transaction.write(2, 5, b"two")
    waiting.join(30)
    assert found == [(2, 5)]


def test_ids_are_unsigned_and_runs_and_nodes_apart() -> None:
    """Flower's ids use all 64 bits; SQLite's integers are signed."""
    folder = apps.scratch()
    ids = [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    contexts = {node: context(node) for node in ids}
    for node in ids:
        for run in ids:
            write(store_of(folder, contexts[node]), b"%d %d" % (node, run), run=run)
    for node in ids:
        for run in ids:
            assert read(store_of(folder, contexts[node]), run) == ((1, 0), b"%d %d" % (node, run))


def test_contents_are_remembered_by_node_across_runs() -> None:
    folder = apps.scratch()
    for node, run, new in ((1, 1, True), (1, 2, False), (2, 1, True)):
        with store_of(folder, context(node)).transaction(run) as transaction:
            assert transaction.add_content(1, b"d" * 32) is new


def test_contents_of_a_party_with_an_identity_are_remembered_under_any_node_id() -> None:
    """The SuperLink gives node ids; under a new one a party would work on the same content again."""
    folder = apps.scratch()
    for owner, node, new in ((b"a" * 32, 1, True), (b"a" * 32, 2, False), (b"b" * 32, 1, True), (b"", 1, True)):
        with SqliteStore.of(context(node), folder, owner).transaction(1) as transaction:
            assert transaction.add_content(1, b"d" * 32) is new


def test_a_run_that_begins_sweeps_out_what_nobody_touched_for_a_month() -> None:
    folder, ours = apps.scratch(), context()
    for run in (1, 2):
        write(store_of(folder, ours), b"record", run=run)
        with store_of(folder, ours).transaction(run) as transaction:
            assert transaction.add_content(1, bytes([run]) * 32)
    old = time.time() - 31 * 24 * 3600
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE runs SET touched = ? WHERE run = 1", (old,))
        connection.execute("UPDATE contents SET touched = ? WHERE digest = ?", (old, b"\x01" * 32))
    write(store_of(folder, ours), b"record", run=2, epoch=2)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    write(store_of(folder, ours), b"record", run=3)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        assert connection.execute("SELECT run FROM runs ORDER BY run").fetchall() == [(2,), (3,)]
        assert connection.execute("SELECT digest FROM contents").fetchall() == [(b"\x02" * 32,)]


# Secrets


def secrets_in(data: bytes) -> dict[str, list[bytes]]:
    """The secret values of a party's record, by kind."""
    state = Record.decode(data).state
    assert isinstance(state, Prepared | Trained)
    found = {"pairwise keys": [value for value in state.keys.values if value]}
    if isinstance(state, Prepared):
        return {**found, "self seed": [state.self_seed], "pairwise seeds": list(state.seeds), "share keys": list(state.incoming)}
    return {**found, "shares": [share for _, *shares in state.held for share in shares]}


@pytest.mark.parametrize("step", ["train", "unmask"])
def test_no_secret_of_the_state_is_readable_in_the_file(step: str) -> None:
    """After PREPARE the record has keys and seeds, after TRAIN keys and shares: found in the record, and nowhere in the folder."""
    folder = apps.scratch()
    grid = apps.secure_grid(
        5, {"action": "drop-request", "step": step, "round": 2, "node": 0}, app=apps.client_app(apps.secure_mod(folder))
    )
    apps.secure().start(grid, apps.model(), 2)
    kept = grid.node(0).context
    _, record = read(SqliteStore.of(kept, folder), grid.run.run_id)
    assert record is not None
    secrets = secrets_in(record)
    assert all(values for values in secrets.values())
    on_disk = b"".join(path.read_bytes() for path in folder.iterdir())
    for kind, values in secrets.items():
        for value in values:
            assert len(value) >= 16
            assert value in record, kind
            assert value not in on_disk, kind
    key = kept.state["stfed.store"][f"key-{grid.run.run_id}"]
    assert isinstance(key, bytes)
    assert key not in on_disk


def test_the_record_is_sealed_to_node_run_and_version() -> None:
    """A row that is moved to another run, or gets another version, is as good as lost."""
    folder, ours = apps.scratch(), context()
    write(store_of(folder, ours), b"secret", run=1)
    write(store_of(folder, ours), b"secret", run=2)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE runs SET record = (SELECT record FROM runs WHERE run = 1) WHERE run = 2")
        connection.execute("UPDATE runs SET version = 2 WHERE run = 1")
    for run in (1, 2):
        with pytest.raises(StateLostError):
            read(store_of(folder, ours), run)
        assert store_of(folder, ours).seen_version(run) == 1


def test_the_key_moves_on_with_every_version_so_an_old_copy_stays_closed() -> None:
    folder, ours = apps.scratch(), context()
    write(store_of(folder, ours), b"first")
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        (old,) = connection.execute("SELECT record FROM runs").fetchone()
    before = ours.state["stfed.store"][f"key-{RUN}"]
    write(store_of(folder, ours), b"second")
    after = ours.state["stfed.store"][f"key-{RUN}"]
    assert isinstance(before, bytes)
    assert after == derive(before, Label.STORE_RATCHET)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE runs SET version = 1, record = ?", (old,))
    with pytest.raises(StateLostError, match="one of them was put back from a copy"):
        read(store_of(folder, ours))


def test_a_context_that_is_older_than_the_record_still_opens_it() -> None:
    """Two messages in flight: the one that ends last saves the Context it started with."""
    folder, ours = apps.scratch(), context()
    write(store_of(folder, ours), b"first")
    stale = RecordDict({name: ConfigRecord(dict(record)) for name, record in ours.state.items()})
    write(store_of(folder, ours), b"second")
    assert read(store_of(folder, context(state=stale))) == ((1, 0), b"second")


@pytest.mark.parametrize("versions", [1, 10_001])
def test_a_lost_key_costs_the_secrets_and_keeps_the_position(versions: int) -> None:
    """Whatever the age of the run: the party can join again, and knows which numbers are used up."""
    folder = apps.scratch()
    write(store_of(folder), b"record", epoch=3, round_=8)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE runs SET version = ?", (versions,))
    restarted = context()
    with pytest.raises(StateLostError, match="as after a restart of its SuperNode"):
        read(store_of(folder, restarted))
    with store_of(folder, restarted).transaction(RUN) as transaction:
        assert transaction.position() == (3, 8)
        transaction.write(4, 8, b"anew")
    assert read(store_of(folder, restarted)) == ((4, 8), b"anew")


def test_a_context_with_something_else_in_our_place_is_refused() -> None:
    folder = apps.scratch()
    for state in (RecordDict({"stfed.store": apps.model()}), RecordDict({"stfed.store": ConfigRecord({f"key-{RUN}": "text"})})):
        with pytest.raises(LocalError, match="is not ours"):
            write(store_of(folder, context(state=state)), b"record")


def test_nothing_secret_is_printed() -> None:
    ours = context()
    store = store_of(apps.scratch(), ours)
    write(store, b"secret record")
    assert "Context" not in repr(store)
    assert "key" not in repr(store)


# Processes


def train_requests(n: int, folder: Path) -> tuple[InMemoryGrid, Parcel]:
    """A federation in which party 0 has prepared and its TRAIN is on the way: the grid, and that request."""
    caught: list[Parcel] = []

    class Catching(InMemoryGrid):
        def push_messages(self, messages: Any) -> list[str]:
            messages, mine = list(messages), self.node(0).node_id
            caught.extend(pack(message) for message in messages if "arrays" in message.content and message.metadata.dst_node_id == mine)
            return super().push_messages(messages)

    faults = apps.plan({"action": "drop-request", "node": 0, "step": "train"})
    grid = Catching(apps.client_app(apps.secure_mod(folder)), n, faults=faults, describe=describe)
    apps.secure().start(grid, apps.model(), 1)
    return grid, caught[0]


def answer(folder: Path, kept: bytes, request: Parcel, barrier: Any, answers: Any) -> None:
    """A process of Flower's: reads the Context, waits for the others, handles the message."""
    node = SimulatedNode(0, lambda: apps.client_app(apps.secure_mod(folder)), context())
    node._stored = kept
    reply = node.answer(request, at_start=barrier.wait)
    answers.put(reply)


def test_of_two_processes_with_the_same_train_request_exactly_one_trains() -> None:
    folder = apps.scratch()
    grid, request = train_requests(4, folder)
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(2), spawn.Queue()
    workers = [spawn.Process(target=answer, args=(folder, grid.node(0)._stored, request, barrier, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    replies = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    vectors = [reply for reply in replies if b"stfed.masked" in reply.payload]
    refusals = [reply for reply in replies if b"WrongStepError" in reply.payload]
    assert (len(vectors), len(refusals)) == (1, 1)


def die_inside(path: Path, written: Any) -> None:
    """Changes a record in an open transaction, so much that SQLite has to write some of it to the file, and waits to be killed."""
    store = SqliteStore(path, NODE, context())
    with store.transaction(RUN) as transaction:
        transaction.write(9, 9, bytes(8 << 20))
        written.set()
        time.sleep(60)


def test_a_process_that_is_killed_inside_a_transaction_leaves_the_state_before_it() -> None:
    folder, ours = apps.scratch(), context()
    write(store_of(folder, ours), b"before")
    spawn = multiprocessing.get_context("spawn")
    written = spawn.Event()
    worker = spawn.Process(target=die_inside, args=(folder / FILE_NAME, written))
    worker.start()
    assert written.wait(60)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert (folder / f"{FILE_NAME}-journal").exists(), "half of a transaction is on the disk, or this test shows nothing"
    assert mode_of(folder / f"{FILE_NAME}-journal") == 0o600
    assert read(store_of(folder, ours)) == ((1, 0), b"before")
    write(store_of(folder, ours), b"after", epoch=2)
    assert read(store_of(folder, ours)) == ((2, 0), b"after")
