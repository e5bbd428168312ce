"""Reading the small files that trust hangs on: bounded, plain files only, and judged by what was opened, not by what has the name later."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stfed.errors import LocalError, MalformedError
from stfed.files import File, check_private, opened, read_bytes


def read_small(path: Path, max_bytes: int) -> tuple[bytes, int]:
    """What a file holds, and its permission bits.

    Raises:
        FileNotFoundError: there is none.
        LocalError: it is not a plain file, or may not be read.
        MalformedError: it is longer than `max_bytes`; no more than that is read.
    """
    with _opened(path) as descriptor:
        return _content(path, descriptor, max_bytes), stat.S_IMODE(os.fstat(descriptor).st_mode)


def read_private(path: Path, max_bytes: int) -> bytes:
    """What a file holds that nobody but us and root could have written.

    Raises:
        FileNotFoundError, LocalError, MalformedError: as `read_small`; LocalError too if somebody else may change or replace the file.
    """
    with _opened(path) as descriptor:
        check_private(path, status=os.fstat(descriptor))
        return _content(path, descriptor, max_bytes)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        with opened(path) as descriptor:
            yield descriptor
    except PermissionError:
        raise LocalError(f"{path} may not be read by this user") from None


def _content(path: Path, descriptor: int, max_bytes: int) -> bytes:
    file = File(descriptor)
    if file.size_bytes > max_bytes:
        raise MalformedError(f"{path} is too long: {file.size_bytes} bytes, and {max_bytes} are possible")
    return read_bytes(file, 0, file.size_bytes)
