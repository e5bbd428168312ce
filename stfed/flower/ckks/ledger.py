"""The key holder's durable memory: every round is decrypted once, every model once, and a key pair so many times and no more.

Two sums over the same contributions, with one party in only one of them, would tell that party's. So would two sums of deterministic
training on the same model. A sum is written down before it is decrypted: who crashes in between has lost that round.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from stfed.errors import LocalError
from stfed.files import check_private
from stfed.flower.ckks.messages import Round
from stfed.flower.ckks.refusals import SpentError
from stfed.secagg.messages import Phase
from stfed.secagg.refusals import ContentReuseError, PlanError, RoundOrderError

FILE_NAME = "key-holder.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sums (
    key BLOB NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL, phase INTEGER NOT NULL, content BLOB NOT NULL, encoding BLOB NOT NULL,
    PRIMARY KEY (key, run, round)) STRICT;
CREATE INDEX IF NOT EXISTS contents ON sums (key, phase, content);
"""
_LOCK_TIMEOUT_S = 60.0


class Ledger:
    """One SQLite file.

    Args:
        folder: where; None keeps it in memory, for simulations whose key pair ends with the process.
        decryptions: how many sums a key pair may decrypt.
    """

    def __init__(self, folder: Path | None, decryptions: int) -> None:
        self._path, self._decryptions, self._lock = None if folder is None else folder / FILE_NAME, decryptions, threading.Lock()
        try:
            if folder is not None and self._path is not None:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600)
                check_private(self._path, database=True)
            self._connection = sqlite3.connect(
                self._path or ":memory:", timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LocalError(f"the key holder's ledger in {folder} cannot be used: {error}") from None

    def claim(self, round_: Round, phase: Phase, content: bytes, encoding: bytes, *, repeats: bool, fixed: bool) -> None:
        """Writes a sum down, durably; or refuses it.

        Args:
            round_: of the sum.
            phase: what it is for.
            content: digest of the model and config that the parties worked on.
            encoding: digest of the plan, whatever the number of parties.
            repeats: allow the same model and config again.
            fixed: allow only the encoding of the run's first sum of this phase.

        Raises:
            RoundOrderError: this round was decrypted, or a later one.
            ContentReuseError: this model and config were.
            PlanError: the encoding is another one than before.
            SpentError: too many sums were.
        """
        key, run = round_.fingerprint, str(round_.run)
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self._one("SELECT COUNT(*) FROM sums WHERE key = ?", key) >= self._decryptions:
                    raise SpentError(f"this key pair has decrypted {self._decryptions} sums, and may no more", hint="make a new key pair")
                if self._one("SELECT IFNULL(MAX(round), 0) FROM sums WHERE key = ? AND run = ?", key, run) >= round_.number:
                    raise RoundOrderError(f"round {round_.number} of this run, or a later one, has been decrypted: every round is once")
                if not repeats and self._one("SELECT COUNT(*) FROM sums WHERE key = ? AND phase = ? AND content = ?", key, phase, content):
                    raise ContentReuseError(
                        "a sum over this model and config has been decrypted, and the difference of two such sums may be a party's update",
                        hint="start from another model; or allow_repeats in the key holder's policy, if training is not deterministic",
                    )
                other = "SELECT COUNT(*) FROM sums WHERE key = ? AND run = ? AND phase = ? AND encoding != ?"
                if fixed and self._one(other, key, run, phase, encoding):
                    raise PlanError("the encoding is not that of the run's first sum")
                self._connection.execute("INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?)", (key, run, round_.number, phase, content, encoding))
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _one(self, query: str, *values: object) -> int:
        return int(self._connection.execute(query, values).fetchone()[0])
