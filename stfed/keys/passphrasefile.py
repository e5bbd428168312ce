"""A passphrase from the first line of a file or a descriptor: for what runs unattended, where nobody can type one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stfed.errors import LocalError

_MAX_BYTES = 4096


def read_passphrase(path: Path) -> str:
    """The first line of a file that its owner alone may use, or of a pipe.

    Raises:
        OSError: it cannot be read.
        LocalError: others may use the file, or the line is no passphrase; the error does not quote it.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            raise LocalError(f"{path} holds a passphrase and others than its owner may use it", hint=f"chmod 600 {path}")
        data = file.readline(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise LocalError(f"the first line of {path} is longer than {_MAX_BYTES} bytes and no passphrase")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise LocalError(f"the first line of {path} is not UTF-8 and no passphrase") from None
