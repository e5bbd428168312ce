"""The CKKS library: Microsoft SEAL, through the bindings that TenSEAL ships (`tenseal.sealapi`). Nothing else imports it.

CKKS is Cheon, Kim, Kim, Song, *Homomorphic Encryption for Arithmetic of Approximate Numbers*, ASIACRYPT 2017, in the RNS form of Cheon,
Han, Kim, Kim, Song (SAC 2018). All of its polynomial arithmetic, its sampling and its key switching are SEAL's; `stfed` never computes on
a secret key itself.

SEAL's objects can be written to and read from named files only. Here that file is in memory and has no name in any folder (memfd_create):
no key ever lies on a disk in clear. Where the system has no such files, this is refused.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from stfed.errors import LocalError, MalformedError

_INSTALL = "pip install 'stfed[encrypted]'"


@cache
def seal() -> ModuleType:
    """`tenseal.sealapi`.

    Raises:
        LocalError: TenSEAL is not installed, or its native library does not load here.
    """
    try:
        return importlib.import_module("tenseal.sealapi")
    except ImportError as error:
        raise LocalError(f"arithmetic on encrypted tensors needs TenSEAL, which cannot be imported: {error}", hint=_INSTALL) from None


@contextmanager
def memory_file(data: bytes = b"") -> Iterator[tuple[int, str]]:
    """A file that lies in memory alone, for the block: its descriptor, and the name under which SEAL opens it.

    Args:
        data: what is in it.

    Raises:
        LocalError: the system has no such files.
    """
    if not hasattr(os, "memfd_create"):
        raise LocalError("this system has no files in memory (memfd_create), and keys are not written to a disk in clear", hint="use Linux")
    handle = os.memfd_create("stfed-ckks", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        yield handle, f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def dump(thing: Any) -> bytes:
    """What SEAL writes of a ciphertext or key: a header of 16 bytes and a zstd stream. The bytes of a secret key are as secret as it."""
    with memory_file() as (handle, path):
        thing.save(path)
        return contents(handle)


def contents(handle: int) -> bytes:
    """All of a file in memory."""
    size = os.fstat(handle).st_size
    parts, at = [], 0
    while at < size:
        parts.append(os.pread(handle, size - at, at))
        at += len(parts[-1])
    return b"".join(parts)


def load(kind: str, context: Any, data: bytes) -> Any:
    """Reads what `dump` wrote, or a SEAL stream that was made elsewhere and *checked before*.

    Args:
        kind: the class: "Ciphertext", "PublicKey", "SecretKey", "RelinKeys" or "GaloisKeys".
        context: a SEALContext; SEAL checks what it reads against it.
        data: the stream.

    Raises:
        MalformedError: SEAL does not take it.
    """
    with memory_file(data) as (_, path):
        return load_from(kind, context, path)


def load_from(kind: str, context: Any, path: str) -> Any:
    """`load` of a file in memory, by the name that it has for this process.

    Raises:
        MalformedError: SEAL does not take it.
    """
    thing = getattr(seal(), kind)()
    try:
        thing.load(context, path)
    except (RuntimeError, ValueError, IndexError) as error:
        raise MalformedError(f"no {kind} of these parameters: {error}") from None
    return thing
