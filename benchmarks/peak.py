"""The most memory that a process had from some point on. Linux keeps it, and lets it be reset."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def mark() -> int:
    """Forgets the peak up to here; the bytes that this process has resident now."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # other C libraries have none; what they keep would hide as much of what follows
        ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text(_RESET_PEAK)
    return _bytes("VmRSS")


def peak_bytes() -> int:
    """The most bytes that it had resident since `mark`."""
    return _bytes("VmHWM")


def _bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])
