"""What an entry of the audit log is: when, what kind of thing, and flat facts about it.

An entry's bytes are canonical JSON, so an event has one encoding and its hash is the event's hash:

    {"fields":{"actor":"...","file_id":"..."},"kind":"seal","time":"2026-11-23T08:15:00.000000Z","version":1}

Entries are for others to read: fingerprints, hashes, names and reasons, never a secret, a tensor or a whole path. The time is what the
writer's clock said; only a cosigned checkpoint bounds it from outside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from stfed import canonical
from stfed.errors import LocalError, MalformedError, shown

MAX_ENTRY_BYTES = 64 << 10

Value = str | int | float | bool | None

_VERSION = 1
_NAME = re.compile("[a-z][a-z0-9_]{0,63}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_SECRETS = ("AGE-SECRET-KEY-", "STFED-SIGNING-KEY-")  # how secret keys begin; what starts like one was put here by mistake


class Kind(StrEnum):
    """What happened."""

    SEAL = "seal"
    OPEN = "open"
    OPEN_FAILED = "open-failed"
    GRANT = "grant"
    REVOKE = "revoke"
    KEY_RELEASE = "key-release"
    KEY_REFUSED = "key-refused"
    AGGREGATE = "aggregate"
    ROSTER = "roster"
    DP_RELEASE = "dp-release"
    DECRYPT = "decrypt"
    DISTRIBUTE = "distribute"


def utc_now() -> datetime:
    """The clock that logs use unless told otherwise."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Event:
    """Something to be logged.

    Attributes:
        kind: what happened.
        fields: flat facts; names of lower-case letters, digits and underscores, values that JSON has. Usual names: `actor`, `file_id`,
            `manifest_sha256`, `recipients` (fingerprints, joined by commas), `reason`, `path` (the file's name without its folder).
    """

    kind: Kind
    fields: Mapping[str, Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "fields", dict(self.fields))
        for name, value in self.fields.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise LocalError(f"{shown(name)} is no name for a field of an audit entry: lower-case letters, digits, underscores")
            if not (value is None or isinstance(value, str | int | float)):
                raise LocalError(f"the field {name} of an audit entry is a {type(value).__name__}, not a text, a number, a bool or None")
            if (isinstance(value, int) and abs(value) >= 1 << 63) or (isinstance(value, float) and not math.isfinite(value)):
                raise LocalError(f"the field {name} of an audit entry is a number that not every reader of JSON can hold")
            if isinstance(value, str) and any(secret in value.upper() for secret in _SECRETS):
                raise LocalError(f"the field {name} of an audit entry holds a secret key", hint="log the key's fingerprint")


@dataclass(frozen=True)
class Entry:
    """An event as the log has it.

    Attributes:
        index: its place in the log, from 0.
        time: when it was appended, by the writer's clock, in UTC.
        event: what happened.
        data: the entry's bytes, which the log's hashes cover.
    """

    index: int
    time: datetime
    event: Event
    data: bytes

    @classmethod
    def make(cls, index: int, time: datetime, event: Event) -> Self:
        """The entry for an event; LocalError if it is longer than 64 KiB."""
        fields = {"version": _VERSION, "time": _format(time), "kind": str(event.kind), "fields": event.fields}
        data = canonical.encode(fields)
        if len(data) > MAX_ENTRY_BYTES:
            raise LocalError(f"an audit entry of {len(data)} bytes is over the limit of {MAX_ENTRY_BYTES}")
        return cls(index, time.astimezone(UTC), event, data)

    @classmethod
    def parse(cls, index: int, data: bytes) -> Self:
        """Reads what `make` wrote, and nothing else; MalformedError otherwise."""
        what = f"audit entry {index}"
        if len(data) > MAX_ENTRY_BYTES:
            raise MalformedError(f"{what} is longer than {MAX_ENTRY_BYTES} bytes")
        value: Any = canonical.decode(data, what)
        if not isinstance(value, dict) or value.keys() != {"version", "time", "kind", "fields"} or not isinstance(value["fields"], dict):
            raise MalformedError(f"{what} does not have the form of one")
        if value["version"] is True or value["version"] != _VERSION or isinstance(value["version"], float):
            raise MalformedError(f"{what} is of version {shown(value['version'])}, which is not understood", hint="update stfed")
        if value["kind"] not in list(Kind):
            raise MalformedError(f"{what} is of the kind {shown(value['kind'])}, which is not understood", hint="update stfed")
        try:
            return cls(index, _parse(value["time"]), Event(Kind(value["kind"]), value["fields"]), data)
        except LocalError as error:
            raise MalformedError(f"{what}: {error.message}") from None


def _format(time: datetime) -> str:
    if time.tzinfo is None:
        raise LocalError("the time of an audit entry needs a time zone")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _parse(text: object) -> datetime:
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise LocalError(f"{shown(text)} is no time")
    try:
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
    except ValueError:
        raise LocalError(f"there is no time {text}") from None
