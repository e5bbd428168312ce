"""Every error that `stfed` raises on purpose, in five families.

A caller can tell from the family who has to act:

- `LocalError`: the call itself is wrong (a bad argument, a policy that cannot be met). Fix the call.
- `PeerError`: the other side broke a rule of the protocol. Nothing secret was released; do not retry with the same peer data.
- `QuorumError`: everybody behaved, but too few are left to finish. The round can be run again with a new round number.
- `DecodeError`: bytes that are no message of ours: truncated, oversized, non-canonical or of an unknown version.
- `SealError`: a sealed file cannot be written, opened or trusted.

An error says what happened, where, and what to do about it. `hint` holds the last part apart, so that the command line can print it
on a line of its own; `str(error)` has both. No error ever carries key material or tensor values.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class StfedError(Exception):
    """The base of all of them.

    Args:
        message: what is wrong and where, one sentence.
        hint: what to do about it, one sentence, if there is anything to do.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class LocalError(StfedError, ValueError):
    """This side was called or configured wrongly."""


class PeerError(StfedError):
    """The other side sent something that the protocol forbids.

    Attributes:
        party: the name of the side at fault, where it is known.
    """

    def __init__(self, message: str, *, party: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.party = party


class QuorumError(StfedError):
    """Too few parties are left to finish; nothing partial was released.

    Attributes:
        missing: the names of the parties whose absence is the reason, sorted.
    """

    def __init__(self, message: str, *, missing: Iterable[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.missing: tuple[str, ...] = tuple(sorted(missing))


class DecodeError(StfedError, ValueError):
    """These bytes are no canonical encoding of what was expected."""


class SealError(StfedError):
    """A sealed file cannot be written, opened or trusted."""


class MalformedError(SealError, DecodeError):
    """These bytes are no file, key, roster or log of ours and no safetensors file: cut off, non-canonical, or out of bounds."""


_REPR = reprlib.Repr()
_REPR.maxlevel = 1
_REPR.maxstring = _REPR.maxother = 80


def shown(value: object) -> str:
    """A value as an error quotes it: escaped, so that it can't steer a terminal; short; never a secret key put there by mistake."""
    text = _REPR.repr(value)
    return "(a secret key)" if "SECRET-KEY-" in text.upper() or "SIGNING-KEY-" in text.upper() else text


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
