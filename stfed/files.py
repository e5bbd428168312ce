"""Where bytes lie: files and memory behind one small interface, and writing that is complete or did not happen.

`replacing` writes under a temporary name in the target's folder, with mode 0600, and renames only after everything is on the disk; a crash
or an error leaves the old file as it was. It never follows a link and never replaces anything but a plain file. `check_private`
refuses files that others could have written.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from stfed.errors import LocalError, MalformedError

_COMPANIONS = ("-journal", "-wal", "-shm")


class Readable(Protocol):
    """Bytes that can be read at any place, by several threads at once."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        ...

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fills `out` with what lies at `offset`."""
        ...


class Writable(Protocol):
    """Bytes that can be written at any place, by several threads at once."""

    def write_at(self, offset: int, data: memoryview | bytes) -> None:
        """Puts `data` at `offset`."""
        ...


class Memory:
    """A byte buffer; writable if the buffer is."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    @property
    def size_bytes(self) -> int:
        """Length of the buffer."""
        return len(self._data)

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fills `out` with what lies at `offset`."""
        out[:] = self._data[offset : offset + len(out)]

    def write_at(self, offset: int, data: memoryview | bytes) -> None:
        """Puts `data` at `offset`."""
        self._data[offset : offset + len(data)] = data


class File:
    """An open file. Closing it is the business of whoever opened the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size_bytes: int = os.fstat(descriptor).st_size

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fills `out` with what lies at `offset`; MalformedError if the file has become shorter than it was."""
        while out:
            count = os.preadv(self._descriptor, [out], offset)
            if not count:
                raise MalformedError("the file became shorter while it was read")
            offset, out = offset + count, out[count:]

    def write_at(self, offset: int, data: memoryview | bytes) -> None:
        """Puts `data` at `offset`, all of it."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._descriptor, view, offset)
            offset, view = offset + count, view[count:]


def read_bytes(source: Readable, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop`, for short pieces."""
    out = bytearray(stop - start)
    source.read_into(start, memoryview(out))
    return bytes(out)


@contextmanager
def opened(path: str | os.PathLike[str], *, writable: bool = False) -> Iterator[int]:
    """A descriptor for reading a plain file, or for changing it in place.

    Raises:
        FileNotFoundError: as safetensors does.
        LocalError: if it is a folder, a pipe or a device.
    """
    try:
        mode = os.O_RDWR if writable else os.O_RDONLY
        descriptor = os.open(path, mode | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in its place must not hang us
    except FileNotFoundError:
        raise FileNotFoundError(f"No such file or directory: {os.fspath(path)}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LocalError(f"{os.fspath(path)} is not a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


def check_target(path: str | os.PathLike[str], *, source: str | os.PathLike[str] | None = None) -> Path:
    """Refuses, with LocalError, a place that `replacing` must not write to: a link, a folder, a device, `source` itself."""
    target = Path(path)
    if not target.parent.is_dir():
        raise LocalError(f"{target} cannot be written: there is no folder {target.parent}")
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "not a plain file"
        raise LocalError(f"{target} is {kind} and is not replaced", hint="name the file itself")
    if source is not None and target.samefile(source):
        raise LocalError(f"{target} is input and output at once", hint="choose another name for the output")
    return target


def check_private(path: str | os.PathLike[str], *, status: os.stat_result | None = None, database: bool = False) -> None:
    """Refuses a file by which somebody else, neither we nor root, could decide whom we trust or what we remember.

    The file must belong to us or to root, and nobody else may write to it; nor may they to its folder, where they could put another file in
    its place. A folder with the sticky bit (/tmp) may be open to others, because there they can neither move nor remove our file. The group
    counts as others, even a group of one: who is in it is not ours to judge, and its bits also show what an access control list permits.
    If the path ends in a link, this goes for the link and for what it leads to. Folders further up are not looked at.

    A file that is not there passes if its folder does. Who makes it then checks again, because somebody else may have been faster.

    Args:
        path: the file.
        status: what `fstat` says of the file as it was opened, if it was: then it is what was read that is judged.
        database: SQLite writes it, and takes what lies beside it as `-journal` or `-wal` for its own unfinished work, which it copies into
            the file as soon as it reads: they must be ours, too. SQLite looks for them at every transaction, so check before each; in a
            folder with the sticky bit somebody may still come in between.

    Raises:
        LocalError: saying who can do what, and how to end it.
    """
    named = Path(path).absolute()
    real = Path(os.path.realpath(named))
    for place in dict.fromkeys((named, real)):
        _check_folder(place)
    file = status or _status(real)
    for place, found in ((named, _status(named)), (real, file)):
        if found is not None and _is_somebody_elses(found):
            raise LocalError(
                f"{place} is relied on, and belongs to another user (uid {found.st_uid}), who may change it",
                hint="look at what is in it and make a copy of your own, or run this as that user",
            )
    if file is not None and file.st_mode & 0o022:
        mode = stat.S_IMODE(file.st_mode)
        raise LocalError(f"{path} is relied on, and others than its owner may change it (mode {mode:04o})", hint=f"chmod go-w {path}")
    for companion in (Path(f"{real}{ending}") for ending in _COMPANIONS if database):
        found = _status(companion)
        if found is not None and _is_somebody_elses(found):
            raise LocalError(
                f"{companion} belongs to another user (uid {found.st_uid}), and SQLite would put what is in it into {path}",
                hint="find out who put it there, and remove it",
            )


def _check_folder(place: Path) -> None:
    try:
        found = place.parent.stat()
    except (FileNotFoundError, NotADirectoryError):
        return  # nor is there a file
    if _is_somebody_elses(found):
        raise LocalError(
            f"{place} is relied on, and lies in a folder of another user (uid {found.st_uid}), who may replace it",
            hint="keep it in a folder of your own",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o022 and not mode & stat.S_ISVTX:
        raise LocalError(
            f"{place} is relied on, and others may replace it, because they may write to its folder (mode {mode:04o})",
            hint=f"chmod go-w {place.parent}, or keep it in a folder of your own",
        )


def _status(place: Path) -> os.stat_result | None:
    """Of the file, or the link, of this name; None if there is none."""
    try:
        return place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_somebody_elses(found: os.stat_result) -> bool:
    return found.st_uid not in (0, os.geteuid())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[File]:
    """A new file that takes `path`'s place when the block ends well, and vanishes when it does not."""
    target = check_target(path)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            yield File(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        check_target(target)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Writes a small file that must not exist yet; LocalError if it does."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise LocalError(f"{path} exists and is not overwritten", hint="choose another name") from None
    except FileNotFoundError:
        raise LocalError(f"{path} cannot be written: there is no folder {path.parent}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Makes a rename or a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
