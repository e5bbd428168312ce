"""Changing a sealed file in place, one process at a time, and only if it is still the file of that name.

The lock is on the file itself, not on its name: whoever renames another file over it goes around the lock. So the name is looked at again
after the lock is there, and once more when the work is done, and a change that went to a file without a name is reported, not kept quiet.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stfed.errors import LocalError
from stfed.keys.keyfile import PathLike


@contextmanager
def locked(descriptor: int, path: PathLike) -> Iterator[None]:
    """One at a time; others wait. Raises LocalError if `path` is another file by now."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        check_named(descriptor, path)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def check_named(descriptor: int, path: PathLike) -> None:
    """Returns if the open file still has this name; LocalError if another one took its place."""
    ours = os.fstat(descriptor)
    try:
        named = Path(path).stat()
    except FileNotFoundError:
        named = None
    if named is None or (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
        raise LocalError(
            f"{os.fspath(path)} was replaced by another file meanwhile: what was written went to the old one",
            hint="look at the file that is there now, and do it again",
        )
