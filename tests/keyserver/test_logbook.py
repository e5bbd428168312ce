"""Refusals of strangers are few entries, all counted, and make no checkpoints; everything else is as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stfed.audit import AuditLog, Kind
from stfed.keys.signing import SigningKey
from stfed.keyserver.logbook import Logbook

SIGNER = SigningKey.generate()


@dataclass
class Desk:
    """A log, its book, and the seconds that pass."""

    log: AuditLog
    every: int = 1000
    now: float = 0.0

    def book(self, strangers_per_minute: int = 10) -> Logbook:
        return Logbook(self.log, SIGNER, self.every, strangers_per_minute=strangers_per_minute, clock=lambda: self.now)

    def fields(self) -> list[dict[str, Any]]:
        return [dict(entry.event.fields) for entry in self.log.entries()]

    def signed(self) -> list[int]:
        return [int(note.split("\n")[1]) for note in self.log.checkpoints()]


@contextmanager
def desk(tmp_path: Path, **more: Any) -> Iterator[Desk]:
    with AuditLog(tmp_path / "audit.db") as log:
        yield Desk(log, **more)


def test_a_flood_grows_the_log_by_a_bounded_number_and_every_refusal_is_counted(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        book = here.book()
        for number in range(3000):  # ten a second, for five minutes
            here.now = number / 10
            book.refused_stranger("malformed", "junk", {"address": "192.0.2.1"})
        assert 50 <= here.log.size <= 10 + 5 * 10
        book.finish()
        written = here.fields()
    assert sum(fields.get("suppressed", 0) + ("rule" in fields) for fields in written) == 3000
    assert "rule" not in written[-1]
    assert {fields["rule"] for fields in written[:-1]} == {"malformed"}


def test_strangers_make_no_checkpoints_and_keep_none_from_being_made(tmp_path: Path) -> None:
    with desk(tmp_path, every=3) as here:
        book = here.book(strangers_per_minute=100)
        for _ in range(20):
            book.refused_stranger("nonce", "used", {})
        assert here.signed() == []
        book.released({"actor": "alice"})
        assert here.signed() == [21]
        for _ in range(2):
            book.refused("readers", "not one", {"actor": "bob"})
            book.refused_stranger("nonce", "used", {})
        assert here.signed() == [21, 24]


def test_two_processes_sign_once_between_them(tmp_path: Path) -> None:
    with desk(tmp_path, every=4) as here:
        books = [here.book(), here.book()]
        for number in range(12):
            books[number % 2].released({"actor": "alice"})
        assert here.signed() == [4, 8, 12]
        here.book().released({"actor": "alice"})  # started anew: it has not forgotten
        assert here.signed() == [4, 8, 12]


def test_what_could_not_be_written_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with desk(tmp_path) as here:
        book = here.book()
        book.count()
        (tmp_path / "audit.db").rename(tmp_path / "moved.db")
        with caplog.at_level(logging.ERROR, "stfed.keyserver"):
            book.refused_stranger("size", "too long", {})
            book.refused("readers", "not one", {})
        assert [record.getMessage().split(":")[0] for record in caplog.records] == [
            "a refusal (size) could not be logged",
            "a refusal (readers) could not be logged",
        ]
        (tmp_path / "moved.db").rename(tmp_path / "audit.db")
        book.refused_stranger("size", "too long", {})
        assert here.fields() == [{"rule": "size", "reason": "too long", "suppressed": 2}]


def test_what_reads_like_a_secret_is_not_shown_but_counted(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        book = here.book()
        book.count()
        book.refused_stranger("malformed", "no purpose: AGE-SECRET-KEY-1QQ", {"address": "192.0.2.1"})
        assert here.fields() == [{"rule": "malformed", "reason": "not shown: it reads like a secret key", "suppressed": 1}]


def test_a_book_that_ends_quietly_only_signs(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        here.book().released({"actor": "alice"})
        here.book().finish()
        assert [entry.event.kind for entry in here.log.entries()] == [Kind.KEY_RELEASE]
        assert here.signed() == [1]
