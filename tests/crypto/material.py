"""What the tests of `stfed.crypto` share: the checked-in vectors, and entropy that can be replayed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors" / "crypto"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


class Tape:
    """Entropy that reads a given byte string from front to back and fails past its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def __call__(self, size_bytes: int, /) -> bytes:
        assert self.at + size_bytes <= len(self.data), "the tape has run out"
        self.at += size_bytes
        return self.data[self.at - size_bytes : self.at]


class Seeded:
    """Endless entropy from a seed; remembers how much each call took."""

    def __init__(self, seed: str | int) -> None:
        self.seed, self.calls = str(seed), []  # type: str, list[int]

    def __call__(self, size_bytes: int, /) -> bytes:
        self.calls.append(size_bytes)
        return hashlib.shake_256(f"{self.seed}/{len(self.calls)}".encode()).digest(size_bytes)
