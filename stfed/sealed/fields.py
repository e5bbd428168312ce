"""JSON objects of the format, read strictly: exactly these fields, exactly one way to write each value.

What is not known is refused, skipping nothing: a field that a later release adds may change what the others mean.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from stfed.errors import MalformedError, shown
from stfed.sealed.errors import UnsupportedError


def unknown(what: str) -> UnsupportedError:
    """The refusal of whatever this version does not understand."""
    return UnsupportedError(f"the file has {what}, which this release does not know", hint="open it with a newer stfed")


def fields(value: Any, what: str, *names: str) -> dict[str, Any]:
    """`value` as a JSON object that has all of `names`, or MalformedError."""
    if not isinstance(value, dict) or not all(name in value for name in names):
        raise MalformedError(f"{what} is not a JSON object with {', '.join(names)}")
    return value


def only_fields(value: Any, what: str, *names: str) -> dict[str, Any]:
    """As `fields`, and UnsupportedError if there is any other: every field is critical."""
    extra = sorted(set(fields(value, what, *names)) - set(names))
    if extra:
        raise unknown(f"{shown(extra[0])} in {what}")
    return fields(value, what, *names)


def text(value: Any, what: str) -> str:
    """A string, or MalformedError."""
    if not isinstance(value, str):
        raise MalformedError(f"{what} is not text")
    return value


def items(value: Any, what: str, at_most: int) -> list[Any]:
    """A list of bounded length, or MalformedError."""
    if not isinstance(value, list) or len(value) > at_most:
        raise MalformedError(f"{what} is not a list of at most {at_most}")
    return value


def whole(value: Any, what: str, at_most: int) -> int:
    """An integer from 0 to `at_most`, or MalformedError. JSON's true is none."""
    if type(value) is not int or not 0 <= value <= at_most:
        raise MalformedError(f"{what} is not a whole number up to {at_most}")
    return value


def hexadecimal(value: Any, size_bytes: int, what: str) -> bytes:
    """Exactly `size_bytes` bytes in lower-case hexadecimal, or MalformedError."""
    try:
        data = bytes.fromhex(value)
    except (TypeError, ValueError):
        data = b""
    if len(data) != size_bytes or data.hex() != value:
        raise MalformedError(f"{what} is not {size_bytes} bytes in hexadecimal")
    return data


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(value: Any, what: str) -> bytes:
    """Bytes in their one base64 form, or MalformedError."""
    try:
        data = base64.b64decode(text(value, what), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"{what} is not base64") from None
    if to_base64(data) != value:
        raise MalformedError(f"{what} is not canonical base64")
    return data
