"""How parts are damaged, and what the refusals are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectors.sealed_format.container import HEADER_BYTES, SLOT_BYTES
from tests.vectors.sealed_format.encoding import Json, clone

MALFORMED, UNSUPPORTED, TAMPERED = "MalformedError", "UnsupportedError", "TamperedError"
UNTRUSTED, DENIED, ROLLBACK = "UntrustedError", "AccessDeniedError", "RollbackError"
NOT_MINE, WRONG_PASSPHRASE = "NotARecipientError", "WrongPassphraseError"
SLOT_A, SLOT_B = HEADER_BYTES, HEADER_BYTES + SLOT_BYTES


def overwrite(data: bytes, at: int, replacement: bytes) -> bytes:
    return data[:at] + replacement + data[at + len(replacement) :]


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    return overwrite(data, at, bytes([data[at] ^ mask]))


def changed(value: Json, change: Callable[[Json], object]) -> Json:
    value = clone(value)
    change(value)
    return value


def without(name: str) -> Callable[[Json], object]:
    return lambda parts: parts.pop(name)


def within(part: str, **values: Any) -> Callable[[Json], object]:
    """Sets fields of a part."""
    return lambda parts: parts[part].update(values)


def field(name: str, value: Any) -> Callable[[Json], object]:
    return lambda parts: parts.__setitem__(name, value)
