"""The audit log of a library, verified and in a form to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import overload

from stfed.audit import AuditLog, Entry, Kind, Report, log_key
from stfed.audit.events import Value
from stfed.keys.signing import SigningKey

_TOLD = ("path", "type", "shape", "names", "recipients", "signers", "readable", "shares", "error", "reason")
"""What stands in a line for people; the other fields are hashes and lengths."""


@dataclass(frozen=True)
class Record:
    """One thing that was done.

    Attributes:
        index: its place in the log, from 0.
        time: when, by this machine's clock.
        kind: what: "seal" (saved), "open" (loaded), "open-failed", "decrypt", "distribute".
        fields: facts about it: file names, fingerprints of keys, reasons. Never a secret, never a number of a tensor.
    """

    index: int
    time: datetime
    kind: Kind
    fields: Mapping[str, Value]

    @classmethod
    def of(cls, entry: Entry) -> Record:
        """The same without its bytes."""
        return cls(entry.index, entry.time, entry.event.kind, entry.event.fields)

    def __str__(self) -> str:
        said = "  ".join(f"{name}={_shown(self.fields[name])}" for name in _TOLD if self.fields.get(name) not in (None, ""))
        return f"{self.index}  {self.time:%Y-%m-%d %H:%M:%S}  {self.kind}  {said}"


class History(Sequence[Record]):
    """All records, oldest first; as text a line each.

    Attributes:
        report: what was verified.
        checkpoint: the log's head, signed, or None of an empty log. Give it to somebody: with it they can tell later that nothing of
            what is in the log now was changed or removed.
    """

    def __init__(self, records: Sequence[Record], report: Report, checkpoint: str | None) -> None:
        self._records = tuple(records)
        self.report: Report = report
        self.checkpoint: str | None = checkpoint

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __str__(self) -> str:
        return "\n".join(map(str, self._records))

    def __repr__(self) -> str:
        return f"<History of {len(self)} records, verified>"


def verified(path: Path, signer: SigningKey, known: str | bytes | Iterable[str | bytes]) -> History:
    """Reads the log, verifies all of it, and returns it.

    Args:
        path: of the log.
        signer: whose signature every checkpoint in it has to have.
        known: checkpoints that were kept elsewhere; the log must have grown from them.

    Raises:
        TamperedLogError, ForkError, UntrustedError, BadSignatureError: as `AuditLog.verify`.
    """
    with AuditLog(path, create=False) as log:
        report = log.verify(trusted_keys=[log_key(log.origin, signer.public.ed25519)], known=known)
        return History([Record.of(entry) for entry in log.entries(0, report.size)], report, log.latest_checkpoint())


def _shown(value: Value) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() and " " not in text else json.dumps(text)
