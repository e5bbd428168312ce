"""Where bytes lie: files and memory behind one small interface, and writing that is complete or did not happen.

`replacing` writes under a temporary name in the target's folder, with mode 0600, and renames only after everything is on the disk; a crash
or an error leaves the old file as it was. It never follows a link and never replaces anything but a plain file.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from stfed.errors import LocalError
from stfed.sealed.errors import MalformedError


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
        self.size_bytes = os.fstat(descriptor).st_size

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
def opened(path: str | os.PathLike[str]) -> Iterator[int]:
    """A descriptor for reading a plain file.

    Raises:
        FileNotFoundError: as safetensors does.
        LocalError: if it is a folder, a pipe or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in its place must not hang us
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
