"""Which entries a person looks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from stfed.audit.events import Entry, Kind
from stfed.errors import LocalError, shown


def matching(
    entries: Iterable[Entry],
    *,
    kind: str | None = None,
    file_id: str | None = None,
    actor: str | None = None,
    recipient: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Entry]:
    """The entries to which all filters apply; see `AuditLog.search`. LocalError for an unknown kind or a time without a zone."""
    if kind is not None and kind not in list(Kind):
        raise LocalError(f"{shown(kind)} is no kind of audit entry", hint=f"one of {', '.join(Kind)}")
    if any(time is not None and time.tzinfo is None for time in (since, until)):
        raise LocalError("a time to search from or to needs a time zone")
    return (
        entry
        for entry in entries
        if kind in (None, entry.event.kind)
        and file_id in (None, entry.event.fields.get("file_id"))
        and _holds(entry, actor, "actor")
        and _holds(entry, recipient, "recipients", "recipient")
        and (since is None or entry.time >= since)
        and (until is None or entry.time < until)
    )


def _holds(entry: Entry, part: str | None, *names: str) -> bool:
    return part is None or any(part in str(entry.event.fields[name]) for name in names if name in entry.event.fields)
