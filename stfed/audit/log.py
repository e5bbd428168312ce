"""The audit log: append, sign its head, prove what is in it. Several processes may use one file at once.

An entry is on the disk when `append` returns, or it is not in the log at all; a writer that dies changes nothing. What a log is worth as
evidence depends on who holds its checkpoints: whoever can write the file can also append to it, or rewrite all of it, and only a
checkpoint that lies elsewhere (with a party, cosigned by one) shows the second. `verify` finds everything short of that.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Self

from stfed.audit import merkle, tables
from stfed.audit.checkpoint import Checkpoint, SignedCheckpoint
from stfed.audit.database import Database
from stfed.audit.errors import ProofError, TamperedLogError
from stfed.audit.events import Entry, Event, utc_now
from stfed.audit.proof import ConsistencyProof, InclusionProof
from stfed.audit.replay import Progress, Report, replay
from stfed.audit.search import matching
from stfed.audit.signatures import Signer, VerifierKey
from stfed.errors import shown

_BATCH = 500


class AuditLog:
    """An append-only log in one SQLite file.

    Args:
        path: the file; its folder must exist.
        origin: the log's name, unique in the world, under which it signs; random if None. A file keeps the origin that it was made with.
        create: whether to make the file (mode 0600) if there is none.
        read_only: only look: nothing is made, repaired or changed, and the file may be anybody's. For those who verify.
        clock: the time of entries, with a time zone.
        timeout_s: how long to wait for another process before giving up.

    Raises:
        LocalError: if the file cannot be used, is no audit log, or has another origin. All methods raise it if the file is locked for too
            long, the disk is full or read-only, or the log was opened before a fork; without `read_only`, if somebody else may change or
            replace the file (`stfed.files.check_private`); with it, if a writer was killed and nobody has appended since.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        origin: str | None = None,
        create: bool = True,
        read_only: bool = False,
        clock: Callable[[], datetime] = utc_now,
        timeout_s: float = 10.0,
    ) -> None:
        self._database = Database(path, origin=origin, create=create, read_only=read_only, timeout_s=timeout_s)
        self._clock = clock

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._database.origin

    @property
    def size(self) -> int:
        """Number of entries."""
        with self._database.reading() as connection:
            return tables.size(connection)

    def append(self, event: Event) -> int:
        """Adds one entry and returns its index, once it is on the disk.

        Raises:
            TamperedLogError: if entries, hashes and checkpoints in the file do not go together; nothing is appended then.
        """
        with self._database.writing() as connection:
            index = tables.size(connection)
            entry = Entry.make(index, self._clock(), event)  # the time is read in turn, so that the order of entries is that of times
            hashes = merkle.completed(merkle.leaf_hash(entry.data), index, tables.reader(connection))
            connection.execute("INSERT INTO entries VALUES (?, ?)", (index, entry.data))
            connection.executemany("INSERT INTO hashes VALUES (?, ?)", enumerate(hashes, merkle.stored_count(index)))
            if tables.size(connection) != index + 1:
                raise TamperedLogError(f"entry {index} was not stored: the file has tables that swallow it", index=index)
        return index

    def root(self, size: int | None = None) -> bytes:
        """The Merkle root of the first `size` entries; of all if None. LocalError if there are not that many."""
        with self._database.reading() as connection:
            return merkle.root(tables.size_at(size, connection), tables.reader(connection))

    def entry(self, index: int) -> Entry:
        """One entry; LocalError if there is none, MalformedError if what is there is no entry of ours."""
        with self._database.reading() as connection:
            return Entry.parse(index, tables.data(index, connection))

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries from `start` up to `stop`, or to the last one there is now. Others may append meanwhile."""
        stop = self.size if stop is None else min(stop, self.size)
        for first in range(start, stop, _BATCH):
            with self._database.reading() as connection:
                rows = tables.batch(first, min(first + _BATCH, stop), connection)
            yield from itertools.starmap(Entry.parse, enumerate(rows, first))

    def search(
        self,
        *,
        kind: str | None = None,
        file_id: str | None = None,
        actor: str | None = None,
        recipient: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Entry]:
        """The entries to which all filters apply, oldest first.

        Args:
            kind: a `Kind` or its name.
            file_id: the field of this name, whole.
            actor: a part of the field of this name.
            recipient: a part of the field `recipients` or `recipient`.
            since: from this time on.
            until: before this time.
        """
        return matching(self.entries(), kind=kind, file_id=file_id, actor=actor, recipient=recipient, since=since, until=until)

    def checkpoint(self, signer: Signer) -> str:
        """Signs what the log holds now, keeps the note in the file, and returns it: give it to somebody.

        Raises:
            TamperedLogError: if the log no longer is what the last checkpoint in the file says. A log never signs two histories.
        """
        with self._database.writing() as connection:
            size = tables.size(connection)
            old = tables.newest(connection)
            if old is not None and old.root != merkle.root(old.size, tables.reader(connection)):
                raise TamperedLogError(f"the {old.size} entries of the last checkpoint are not in the log", hint="verify the log")
            signed = Checkpoint(self.origin, size, merkle.root(size, tables.reader(connection))).signed(signer)
            tables.keep(signed, connection)
        return str(signed)

    def latest_checkpoint(self) -> str | None:
        """The newest checkpoint in the file, with every signature that was added to it; None if none was made."""
        with self._database.reading() as connection:
            newest = tables.newest(connection)
        return None if newest is None else str(newest)

    def checkpoints(self) -> list[str]:
        """All checkpoints in the file, oldest first; one that was cosigned is there again with the new signatures."""
        with self._database.reading() as connection:
            return tables.notes(connection)

    def add_cosignatures(self, checkpoint: str | bytes, trusted: Iterable[VerifierKey | str]) -> None:
        """Keeps a checkpoint of this log that others have cosigned.

        Raises:
            ProofError: if it is not of this log, or of another history.
            UntrustedError: if this log has not signed it with a trusted key.
            BadSignatureError: if a signature that claims to be by a trusted key is not.
        """
        signed = SignedCheckpoint.parse(checkpoint)
        signed.verify(trusted, origin=self.origin)
        with self._database.writing() as connection:
            self._check_ours(signed, connection)
            tables.keep(signed, connection)

    def inclusion_proof(self, index: int, checkpoint: str | bytes, *, with_entry: bool = True) -> str:
        """A tlog proof that entry `index` is in the tree of `checkpoint`; see `InclusionProof`.

        Args:
            index: of the entry.
            checkpoint: of this log, by whomever signed: the proof is as good as its signatures.
            with_entry: whether the proof carries the entry; without, the verifier must have its bytes.

        Raises:
            LocalError: if there is no such entry in that tree.
            ProofError: if the checkpoint is of another log or history.
            TamperedLogError: if the entry is not what the log's hashes say.
        """
        signed = SignedCheckpoint.parse(checkpoint)
        with self._database.reading() as connection:
            self._check_ours(signed, connection)
            hashes = merkle.inclusion_proof(index, signed.size, tables.reader(connection))
            data = tables.data(index, connection)
        try:
            merkle.verify_inclusion(merkle.leaf_hash(data), index, signed.size, hashes, signed.root)
        except ProofError:
            raise TamperedLogError(f"entry {index} is not what was appended", index=index) from None
        return str(InclusionProof(index, hashes, signed, data if with_entry else None))

    def consistency_proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """The hashes that show that the first `old_size` of `new_size` entries are a prefix (RFC 9162, section 2.1.4)."""
        with self._database.reading() as connection:
            return merkle.consistency_proof(old_size, tables.size_at(new_size, connection), tables.reader(connection))

    def cosign_request(self, old_size: int, checkpoint: str | bytes) -> str:
        """What a `Witness` that saw `old_size` entries last needs to cosign `checkpoint`; see `ConsistencyProof`.

        Raises:
            LocalError: if the checkpoint is older than `old_size`.
            ProofError: if the checkpoint is of another log or history.
        """
        signed = SignedCheckpoint.parse(checkpoint)
        with self._database.reading() as connection:
            self._check_ours(signed, connection)
            hashes = merkle.consistency_proof(old_size, signed.size, tables.reader(connection))
        return str(ConsistencyProof(old_size, hashes, signed))

    def verify(
        self,
        *,
        trusted_keys: Iterable[VerifierKey | str] = (),
        known: str | bytes | Iterable[str | bytes] = (),
        progress: Progress | None = None,
    ) -> Report:
        """Reads everything again and returns what holds.

        Every entry parses, all hashes follow from the entries, and every checkpoint in the file is the head of the log at its size.

        Args:
            trusted_keys: if given, every checkpoint in the file, and every known one, must be signed with one of these keys of the log.
            known: checkpoints that the caller got earlier; the log must have grown from them. Only these show a log that was rewritten
                as a whole or replaced by an older copy.
            progress: called with the number of entries read and their total.

        Raises:
            TamperedLogError: naming the first bad entry.
            ForkError: if keys are given and a known checkpoint and one in the file are two signed histories: evidence against the log.
            UntrustedError: if a checkpoint is of another log or not signed by a trusted key.
            BadSignatureError: if a signature that claims to be by a trusted key is not.
        """
        notes = (known,) if isinstance(known, str | bytes) else tuple(known)
        return replay(self._database, tuple(map(SignedCheckpoint.parse, notes)), tuple(trusted_keys), progress)

    def _check_ours(self, signed: SignedCheckpoint, connection: sqlite3.Connection) -> None:
        if signed.origin != self.origin:
            raise ProofError(f"the checkpoint is of the log {shown(signed.origin)}, not of {shown(self.origin)}")
        if signed.size > tables.size(connection) or merkle.root(signed.size, tables.reader(connection)) != signed.root:
            raise ProofError(f"the checkpoint of {signed.size} entries is not of this log's history", hint="verify the log against it")

    def close(self) -> None:
        """Gives the file back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AuditLog({str(self._database.path)!r}, origin={self.origin!r})"


def open_log(log: AuditLog | str | os.PathLike[str] | None) -> AuditLog | None:
    """What `audit=` arguments accept: a log, the path of one (made if there is none), or None for no log.

    Whoever gives a path closes what comes back; `record` does so.
    """
    return log if log is None or isinstance(log, AuditLog) else AuditLog(log)


def record(log: AuditLog | str | os.PathLike[str] | None, event: Event) -> int | None:
    """Appends one event to whatever an `audit=` argument was given and returns its index; None if that was None."""
    if log is None or isinstance(log, AuditLog):
        return None if log is None else log.append(event)
    with AuditLog(log) as opened:
        return opened.append(event)
