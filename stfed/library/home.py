"""The folder that a library lives in: one user's alone, and changed by one process at a time.

Its place follows the XDG Base Directory Specification (freedesktop.org, version 0.8): `$XDG_DATA_HOME/stfed`, else `~/.local/share/stfed`.
A set of keys is a folder in it that appears whole, under its name, or not at all: a process that dies while it makes one leaves nothing
that another one could take for keys. What lacks a part all the same has lost it: that is reported, and never mended with new keys, which
would open no old file.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stfed.errors import LocalError
from stfed.files import check_private, sync_folder
from stfed.keys.keyfile import PathLike
from stfed.sealed.locking import locked

_MODE = 0o700


def default_home() -> Path:
    """Where a library lives unless told otherwise; LocalError if this user has no home directory."""
    data = os.environ.get("XDG_DATA_HOME", "")
    if Path(data).is_absolute():  # the specification: "If an implementation encounters a relative path [...] ignore it"
        return Path(data) / "stfed"
    try:
        return Path.home() / ".local" / "share" / "stfed"
    except RuntimeError:
        raise LocalError("this user has no home directory to keep keys in", hint="say where: home=..., or set XDG_DATA_HOME") from None


class Home:
    """A folder that nobody else can look into, made (mode 0700) if it is not there.

    Args:
        path: the folder; `default_home()` if None.

    Attributes:
        path: the same, absolute.

    Raises:
        LocalError: it cannot be made or used, belongs to somebody else, or others may look into it or replace it.
    """

    def __init__(self, path: PathLike | None = None) -> None:
        self.path: Path = (default_home() if path is None else Path(path)).absolute()
        try:
            for folder in (*reversed(self.path.parents), self.path):
                if not folder.exists():
                    folder.mkdir(_MODE, exist_ok=True)  # so the specification wants the folders above, too
        except OSError as error:
            raise LocalError(
                f"the folder {self.path} for keys cannot be made: {error.strerror}", hint="name another one: home=..."
            ) from None
        _check_closed(self.path)
        check_private(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time; others wait. LocalError if this user may not write here."""
        path = self.path / "lock"
        try:  # a file, because a folder cannot be locked on every network file system
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalError(f"{path} cannot be opened: {error.strerror}", hint="the folder has to be writable for its owner") from None
        try:
            with locked(descriptor, path):
                yield
        finally:
            os.close(descriptor)

    def has(self, name: str, files: Sequence[str]) -> bool:
        """Whether a set of keys is there, with all its files.

        Raises:
            LocalError: only a part of it is, or others may look into it.
        """
        folder = self.path / name
        if not (folder.exists() or folder.is_symlink()):
            return False
        _check_closed(folder)
        missing = [file for file in files if not (folder / file).is_file()]
        if missing:
            raise LocalError(
                f"{folder} is incomplete: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
                hint="put it back from a backup; if nothing was ever saved with these keys, remove that folder, and new ones are made",
            )
        return True

    @contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """An empty folder that gets its name when the block ends well, and vanishes when it does not. Only while `locked`."""
        for left in self.path.glob(f".{name}.*.tmp"):  # of a process that died: keys that nobody ever used
            shutil.rmtree(left)
        temporary = self.path / f".{name}.{secrets.token_hex(8)}.tmp"
        temporary.mkdir(_MODE)
        try:
            yield temporary
            sync_folder(temporary)
            temporary.rename(self.path / name)
        except BaseException:
            shutil.rmtree(temporary)
            raise
        sync_folder(self.path)


def _check_closed(folder: Path) -> None:
    try:
        status = folder.stat()
    except OSError as error:
        raise LocalError(f"the folder {folder} for keys cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise LocalError(f"{folder} is to be the folder for keys and is no folder", hint="move it away, or name another one: home=...")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise LocalError(f"the folder {folder} is for secret keys, and others may use it (mode {mode:04o})", hint=f"chmod 700 {folder}")
