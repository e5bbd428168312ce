"""Points in time as the format writes them: UTC, whole seconds, `2026-11-23T06:00:00Z`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from stfed.errors import LocalError, MalformedError, shown

Clock = Callable[[], datetime]

CLOCK_SKEW = timedelta(hours=1)
"""How far two people's clocks may be apart."""

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def system_clock() -> datetime:
    """The time now, by this machine."""
    return datetime.now(UTC)


def written(moment: datetime) -> str:
    """Its text; fractions of a second are dropped. LocalError for a time without a zone, which means another moment elsewhere."""
    if moment.tzinfo is None:
        raise LocalError(f"the time {moment} has no zone", hint="use datetime(..., tzinfo=timezone.utc)")
    moment = moment.astimezone(UTC)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%SZ}"


def whole_seconds(moment: datetime) -> datetime:
    """The same moment as it can be written, in UTC."""
    return read(written(moment), "a time")


def read(value: Any, what: str) -> datetime:
    """Reads what `written` gives and nothing else, or MalformedError."""
    try:
        moment = datetime.strptime(value, _FORMAT).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise MalformedError(f"{what} is no time in the form 2026-11-23T06:00:00Z: {shown(value)}") from None
    if written(moment) != value:
        raise MalformedError(f"{what} is no time in the form 2026-11-23T06:00:00Z: {shown(value)}")
    return moment
