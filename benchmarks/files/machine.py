"""What a timing depends on beside the code: where the file lies, and whose the memory is."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

_MEMORY_FOLDER = Path("/dev/shm")
_PAGE_BYTES = 4096


def folder_for(need_bytes: int) -> Path:
    """A folder in memory if there is one with room to spare, else the system's for temporary files."""
    roomy = _MEMORY_FOLDER.is_dir() and os.access(_MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(_MEMORY_FOLDER).free > 2 * need_bytes
    return _MEMORY_FOLDER if roomy and available_bytes() > 8 * need_bytes else Path(tempfile.gettempdir())


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, "tmpfs" or "ext4" for example; "unknown" where the system does not tell."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except FileNotFoundError:
        return "unknown"
    here = folder.resolve()
    holding = [(len(point), kind) for point, kind in mounts if here.is_relative_to(point)]
    return max(holding, default=(0, "unknown"))[1]


def available_bytes() -> int:
    """Memory that can be used without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except FileNotFoundError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def claim(size_bytes: int) -> None:
    """Takes memory and gives it back, at most a third of what is available.

    A virtual machine may hand pages that have been free for some seconds back to its host; getting them again takes thirty times as long
    as any page fault. Whoever ran after a pause would pay for that, and not for what it does.
    """
    room = np.empty(min(size_bytes, available_bytes() // 3), np.uint8)
    room[::_PAGE_BYTES] = 1
