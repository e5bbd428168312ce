"""Why a sealed file was refused, told apart as far as a caller can act on it.

All are `SealError` but the last, which is the caller's own mistake. Only `NotARecipientError` may be answered by trying another key:
age's rule, so that no other failure can be used to probe which key somebody holds.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from stfed.errors import DecodeError, LocalError, SealError


class MalformedError(SealError, DecodeError):
    """These bytes are no sealed file, no key and no safetensors file: cut off, non-canonical, or out of bounds."""


class UnsupportedError(SealError):
    """Well-formed, but made with a version, suite or field that this release does not know and must not skip."""


class TamperedError(SealError):
    """Something authenticated does not verify: the bytes changed after sealing. Nothing of them was released."""


class NotARecipientError(SealError):
    """The file is sealed to others: none of the identities given is among its recipients."""


class TensorError(LocalError, SafetensorError):
    """The tensor asked for or handed in does not suit, in the cases where safetensors raises `SafetensorError`."""


_REPR = reprlib.Repr()
_REPR.maxlevel = 1
_REPR.maxstring = _REPR.maxother = 80


def shown(value: object) -> str:
    """A value from a file as an error quotes it: escaped, so that it can't steer a terminal, and short."""
    return _REPR.repr(value)


@contextmanager
def about(file: str | os.PathLike[str] | None) -> Iterator[None]:
    """Puts the file's name in front of any `SealError` that leaves the block."""
    try:
        yield
    except SealError as error:
        if file is not None:
            error.message = f"{os.fspath(file)}: {error.message}"
            error.args = (error.message,)
        raise
