"""What the core asks of a store, held against the one in memory: all or nothing, one at a time, and a position that outlives the record."""

from __future__ import annotations

import threading

import pytest

from stfed.secagg.store import MemoryStore


def test_a_run_that_is_not_known_is_empty() -> None:
    with MemoryStore().transaction(1) as transaction:
        assert transaction.position() == (0, 0)
        assert transaction.read() is None


def test_what_is_written_is_there_afterwards_and_in_its_own_transaction() -> None:
    store = MemoryStore()
    with store.transaction(1) as transaction:
        transaction.write(1, 5, b"record")
        assert (transaction.position(), transaction.read()) == ((1, 5), b"record")
    with store.transaction(1) as transaction:
        assert (transaction.position(), transaction.read()) == ((1, 5), b"record")
    with store.transaction(2) as transaction:
        assert (transaction.position(), transaction.read()) == ((0, 0), None)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_transaction_that_fails_leaves_nothing_behind(error: type[BaseException]) -> None:
    store = MemoryStore()
    with store.transaction(1) as transaction:
        transaction.write(1, 1, b"old")

    def fail() -> None:
        with store.transaction(1) as transaction:
            transaction.write(2, 2, b"new")
            assert transaction.add_content(1, b"content")
            raise error

    with pytest.raises(error):
        fail()
    with store.transaction(1) as transaction:
        assert (transaction.position(), transaction.read()) == ((1, 1), b"old")
        assert transaction.add_content(1, b"content")


def test_a_content_is_added_once_per_phase_and_remembered_across_runs() -> None:
    store = MemoryStore()
    with store.transaction(1) as transaction:
        assert [transaction.add_content(1, b"a"), transaction.add_content(1, b"a")] == [True, False]
        assert transaction.add_content(2, b"a")
    with store.transaction(2) as transaction:
        assert [transaction.add_content(phase, digest) for phase, digest in ((1, b"a"), (2, b"a"), (1, b"b"))] == [False, False, True]


def test_a_second_transaction_waits_for_the_first() -> None:
    """Read, add one, write, in many threads: no step is lost."""
    store, threads, rounds = MemoryStore(), 8, 50

    def work() -> None:
        for _ in range(rounds):
            with store.transaction(1) as transaction:
                count = int.from_bytes(transaction.read() or b"", "big") + 1
                transaction.write(1, count, count.to_bytes(4, "big"))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with store.transaction(1) as transaction:
        assert transaction.position() == (1, threads * rounds)


def test_no_record_shows_in_a_repr() -> None:
    store = MemoryStore()
    with store.transaction(1) as transaction:
        transaction.write(1, 1, b"secret")
        assert "secret" not in repr(transaction)
    assert "secret" not in repr(store._runs)
