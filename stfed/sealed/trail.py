"""What sealing and opening leave in an audit log, if one is configured: before the file appears, before a tensor is given out.

An entry names files, keys and reasons, never keys themselves or content. If it cannot be written, what it is about does not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stfed.audit import AuditLog, Event, Kind, open_log
from stfed.errors import LocalError, SealError
from stfed.keys.keyfile import PathLike
from stfed.sealed.manifest import Manifest
from stfed.sealed.statements import Scalar

_REASON_MAX_CHARACTERS = 500
_NAMED = ("type", "model", "sequence", "revision", "shard")


@contextmanager
def trail(log: AuditLog | PathLike | None) -> Iterator[Trail]:
    """The log that `audit=` names, closed at the end if it was opened here."""
    opened = open_log(log)
    try:
        yield Trail(opened)
    finally:
        if opened is not None and opened is not log:
            opened.close()


class Trail:
    """Writes events of one file to a log, or nowhere."""

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log

    def __bool__(self) -> bool:
        return self._log is not None

    def note(self, kind: Kind, path: PathLike | None, manifest: Manifest | None = None, **more: Scalar | Iterable[str]) -> int | None:
        """Appends an entry; durable when this returns.

        Args:
            kind: what happened.
            path: the file; only its name is written.
            manifest: what it states, if that is known.
            more: further fields; several texts are joined by commas.

        Returns:
            The entry's index, None without a log.
        """
        if self._log is None:
            return None
        fields: dict[str, Scalar] = {"path": None if path is None else Path(path).name}
        if manifest is not None:
            fields |= {
                "file_id": manifest.context.file_id.hex(),
                "manifest_sha256": manifest.sha256.hex(),
                "signers": ",".join(key.fingerprint for key in manifest.context.signers),
            }
            fields |= {name: manifest.context.public[name] for name in _NAMED if name in manifest.context.public}
        for name, value in more.items():
            fields[name] = value if isinstance(value, Scalar) else ",".join(value)
        return self._log.append(Event(kind, fields))

    @contextmanager
    def failures(
        self, kind: Kind, path: PathLike | None, manifest: Callable[[], Manifest | None], actor: Callable[[], str], **more: str
    ) -> Iterator[None]:
        """Notes any refusal that leaves the block, with its reason and as much as is known of the file by then."""
        try:
            yield
        except SealError as error:
            if self:
                reason = error.message[:_REASON_MAX_CHARACTERS]
                try:
                    self.note(kind, path, manifest(), actor=actor(), error=type(error).__name__, reason=reason, **more)
                except LocalError:  # the file says, or is called, what no log takes: the failure is logged all the same
                    self.note(kind, None, None, error=type(error).__name__, **more)
            raise
