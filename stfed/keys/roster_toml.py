"""The text of a roster: TOML, read strictly, written in one order.

    version = 1
    name = "Heart study"

    [[member]]
    name = "alice"
    roles = ["owner", "recipient"]
    encryption = "age1pq1..."
    signing = "stfedsig1..."
    not_before = 2026-01-01T00:00:00Z      # optional, like not_after

    [[retired]]                            # encryption, signing or both
    name = "alice"
    signing = "stfedsig1..."
    until = 2026-03-01T00:00:00Z

    [[revoked]]
    name = "bob"
    key = "abcd-efgh-ijkl-mnop"            # or the key
    at = 2026-04-01T12:00:00Z
    reason = "laptop stolen"

A field that is not known is an error, never skipped: it could be a restriction that a newer version knows and this one would not apply.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import tomli_w

from stfed.errors import LocalError, MalformedError, shown
from stfed.keys.encryption import Recipient
from stfed.keys.member import Member, Retired, Revoked
from stfed.keys.signing import VerifyingKey

VERSION = 1
MAX_BYTES = 16 << 20
# tomllib's time grows with the square of the number of parts in a dotted key. A roster has none, so few dots are enough for it.
_MAX_DOTS_PER_LINE = 400
_MAX_DOTS = 100_000

_MEMBER = {"name": str, "roles": list, "encryption": str, "signing": str, "not_before": datetime, "not_after": datetime}
_RETIRED = {"name": str, "until": datetime, "encryption": str, "signing": str}
_REVOKED = {"name": str, "key": str, "at": datetime, "reason": str}
_ROSTER = {"version": int, "name": str, "member": list, "retired": list, "revoked": list}
_TYPES = {str: "a string", list: "an array", datetime: "a date and time with its zone", int: "an integer"}

_Entry = TypeVar("_Entry")


@dataclass(frozen=True)
class Content:
    """What a roster says."""

    name: str
    members: tuple[Member, ...]
    retired: tuple[Retired, ...]
    revoked: tuple[Revoked, ...]

    def tables(self) -> dict[str, Any]:
        """It as TOML values, everything in one order, times in UTC; what has no value is left out."""
        return {
            "version": VERSION,
            "name": self.name,
            "member": sorted((_table(entry, _MEMBER) for entry in self.members), key=lambda entry: entry["name"]),
            "retired": _sorted((_table(entry, _RETIRED) for entry in self.retired), "until"),
            "revoked": _sorted((_table(entry, _REVOKED) for entry in self.revoked), "at"),
        }


def write(content: Content) -> bytes:
    """The text; LocalError if it is too long to be read again."""
    text = tomli_w.dumps({field: value for field, value in content.tables().items() if value != []})
    try:
        return _checked(text.encode("utf-8"))
    except MalformedError as error:
        raise LocalError(f"the roster cannot be written: {error.message}") from None


def read(data: bytes) -> Content:
    """What a text says, each entry checked by itself.

    Raises:
        MalformedError: it is not TOML, or has an unknown or missing field, a value of the wrong type, or one that breaks a rule.
    """
    try:
        values = tomllib.loads(_checked(data).decode("utf-8"))
    except RecursionError:
        raise MalformedError("it is nested too deeply") from None
    except MalformedError:
        raise
    except UnicodeDecodeError:
        raise MalformedError("it is not UTF-8") from None
    except ValueError as error:  # TOMLDecodeError, which gives the place, and what Python says of a number with too many digits
        raise MalformedError(f"it is not TOML: {error}") from None
    if type(values.get("version")) is not int or values["version"] != VERSION:
        raise MalformedError(f"it is of version {shown(values.get('version'))}, not {VERSION}", hint="a newer stfed may read it")
    _check_fields(values, _ROSTER, ("name",), "the roster")
    return Content(
        values["name"],
        tuple(_made(Member, where, table, _MEMBER, ("name", "roles")) for where, table in _entries(values, "member")),
        tuple(_made(Retired, where, table, _RETIRED, ("name", "until")) for where, table in _entries(values, "retired")),
        tuple(_made(Revoked, where, table, _REVOKED, ("name", "key", "at")) for where, table in _entries(values, "revoked")),
    )


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise MalformedError(f"it is too long: {len(data)} bytes, and {MAX_BYTES} are possible")
    if data.count(b".") > _MAX_DOTS or any(line.count(b".") > _MAX_DOTS_PER_LINE for line in data.splitlines()):
        raise MalformedError("it has more full stops than a roster needs", hint=f"{_MAX_DOTS_PER_LINE} a line and {_MAX_DOTS} are possible")
    return data


def _sorted(entries: Iterable[dict[str, Any]], time: str) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: (entry["name"], entry[time], str(entry)))


def _table(entry: object, fields: Iterable[str]) -> dict[str, Any]:
    values = {field: getattr(entry, field) for field in fields}
    return {field: _toml(value) for field, value in values.items() if value not in (None, "")}


def _toml(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _entries(values: Mapping[str, Any], field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables of one sort, each with how errors call it."""
    for number, table in enumerate(values.get(field, ()), 1):
        where = f"{field} {number}"
        if type(table) is not dict:
            raise MalformedError(f"{where} is no table", hint=f"each begins with [[{field}]]")
        yield where, table


def _made(kind: Callable[..., _Entry], where: str, table: dict[str, Any], fields: Mapping[str, type], required: tuple[str, ...]) -> _Entry:
    """One entry from its table, with the place put in front of whatever is wrong with it."""
    _check_fields(table, fields, required, where)
    values: dict[str, Any] = dict(table)
    try:
        if "roles" in values:
            values["roles"] = _roles(values["roles"])
        for field, read_key in (("encryption", Recipient.from_string), ("signing", VerifyingKey.from_string)):
            if field in values:
                values[field] = read_key(values[field])
        return kind(**values)
    except (LocalError, MalformedError) as error:
        raise MalformedError(f"{where}: {error.message}", hint=error.hint) from None


def _roles(values: list[Any]) -> frozenset[str]:
    if any(type(role) is not str for role in values) or len(set(values)) < len(values):
        raise MalformedError("its roles are not different strings")
    return frozenset(values)


def _check_fields(table: Mapping[str, Any], fields: Mapping[str, type], required: tuple[str, ...], where: str) -> None:
    for field, value in table.items():
        if field not in fields:
            raise MalformedError(f"{where} has a field {shown(field)}, which is not known", hint=f"known are {', '.join(fields)}")
        if type(value) is not fields[field] or (isinstance(value, datetime) and value.utcoffset() is None):
            raise MalformedError(f"{where}: {field} is not {_TYPES[fields[field]]}")
    for field in required:
        if field not in table:
            raise MalformedError(f"{where} has no {field}")
