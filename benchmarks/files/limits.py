"""What the machine can do at best on the same bytes: the three things that no sealed file can do without, each alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.files.contender import Contender, Kind
from benchmarks.files.workload import Tensors

_PIECE_BYTES = 1 << 20
_TAG_BYTES = 16
_THREADS = 2


class Limit(Contender):
    """Works on one buffer and not on tensors, so it has nothing to say about small or single ones."""

    kind = Kind.LIMIT

    def prepare(self, tensors: Tensors) -> Any:
        whole = next(iter(tensors.values())).base
        return np.asarray(whole).view(np.uint8)


class Aes(Limit):
    """AES-256-GCM in pieces of 1 MiB on two threads, from memory to memory that has been touched before."""

    name = "AES-256-GCM, 2 threads"

    def __init__(self) -> None:
        self._cipher = AESGCM(os.urandom(32))

    def prepare(self, tensors: Tensors) -> Any:
        self._plain = super().prepare(tensors)
        self._pieces = -(-self._plain.nbytes // _PIECE_BYTES)
        self._sealed = np.zeros(self._pieces * (_PIECE_BYTES + _TAG_BYTES), np.uint8)
        self._opened = np.zeros_like(self._plain)
        return self._plain

    def save(self, prepared: Any, path: Path) -> None:
        def seal(index: int) -> None:
            plain, sealed = self._piece(self._plain, index)
            self._cipher.encrypt_into(index.to_bytes(12, "big"), plain, None, sealed)

        self._each(seal)

    def load(self, path: Path) -> Mapping[str, Any]:
        def open_(index: int) -> None:
            opened, sealed = self._piece(self._opened, index)
            self._cipher.decrypt_into(index.to_bytes(12, "big"), sealed, None, opened)

        self._each(open_)
        return {"": self._opened}

    def _piece(self, plain: Any, index: int) -> tuple[Any, Any]:
        part = plain[index * _PIECE_BYTES : (index + 1) * _PIECE_BYTES]
        start = index * (_PIECE_BYTES + _TAG_BYTES)
        return part.data, self._sealed[start : start + part.nbytes + _TAG_BYTES].data

    def _each(self, work: Callable[[int], None]) -> None:
        def stripe(first: int) -> None:
            for index in range(first, self._pieces, _THREADS):
                work(index)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(stripe, range(_THREADS)))


class Transfer(Limit):
    """One write of all bytes to a new file, one read of them into new memory: what the file system alone takes."""

    name = "write, read"

    def save(self, prepared: Any, path: Path) -> None:
        with path.open("xb", buffering=0) as file:
            left = prepared.data
            while left:
                left = left[file.write(left) :]

    def load(self, path: Path) -> Mapping[str, Any]:
        out = np.empty(path.stat().st_size, np.uint8)
        with path.open("rb", buffering=0) as file:
            left = out.data
            while left:
                left = left[file.readinto(left) :]
        return {"": out}


class Copy(Limit):
    """memcpy, from memory to memory that has been touched before; both columns are the same thing."""

    name = "memcpy"

    def prepare(self, tensors: Tensors) -> Any:
        self._from = super().prepare(tensors)
        self._to = np.zeros_like(self._from)
        return self._from

    def save(self, prepared: Any, path: Path) -> None:
        np.copyto(self._to, self._from)

    def load(self, path: Path) -> Mapping[str, Any]:
        np.copyto(self._to, self._from)
        return {"": self._to}
