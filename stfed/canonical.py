"""JSON with exactly one encoding, and strict reading of JSON that others wrote.

`encode` is RFC 8785 in spirit: keys sorted, no white space, UTF-8, escapes only where JSON demands them. Numbers are integers, or finite
doubles in the shortest decimal form that reads back to the same double, as Python's `repr` prints it. `decode` accepts nothing that
`encode` does not produce, so equal values are equal bytes and a hash of the bytes is a hash of the value.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from stfed.errors import LocalError, MalformedError, shown


class _Refused(ValueError):
    """Legal for Python's parser, not for ours."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {shown(twice)} occurs twice")
    return value


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no JSON number")


def _integer(digits: str) -> int:
    if digits == "-0":  # Python reads it as 0; safetensors' parser takes it for a float
        raise _Refused("-0 is no integer")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Refused(f"{shown(digits)} is over the range of doubles")
    return value


def parse(data: bytes, what: str) -> Any:
    """Reads JSON in any layout, refusing what parsers disagree about: duplicate keys, NaN, -0, lone surrogates, other encodings.

    Args:
        data: UTF-8 text. The caller bounds its length.
        what: what the text is, for errors.

    Raises:
        MalformedError: for anything else, including nesting deeper than the interpreter's stack.
    """
    try:
        text = data.decode("utf-8")
        integer = _integer if "-0" in text else int  # the hook is slow, headers of 10,000 tensors are not rare
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=integer, parse_float=_number)
        if "\\u" in text:
            _dump(value).encode("utf-8")  # an escaped lone surrogate has no UTF-8 form
    except UnicodeError:
        raise MalformedError(f"{what} is not UTF-8") from None
    except RecursionError:
        raise MalformedError(f"{what} is nested too deeply") from None
    except _Refused as error:
        raise MalformedError(f"{what}: {error}") from None
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
        raise MalformedError(f"{what} is not JSON: {reason}") from None
    return value


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Any) -> bytes:
    """The one encoding of `value`.

    Raises:
        LocalError: if it holds NaN, infinity, a lone surrogate or a type that JSON has not.
    """
    try:
        return _dump(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalError(f"this value has no JSON form: {error}") from None


def decode(data: bytes, what: str) -> Any:
    """Reads what `encode` wrote, and nothing else.

    Raises:
        MalformedError: if the bytes are not JSON, or not in their one encoding.
    """
    value = parse(data, what)
    try:
        same = encode(value) == data
    except LocalError:
        same = False
    if not same:
        raise MalformedError(f"{what} is not in canonical form")
    return value
