"""Where randomness comes from: an argument everywhere, the operating system by default.

The core never reads the clock or a generator of its own. It takes an `Entropy`, a function from a number of bytes to that many uniform
bytes, so that a test can replay a whole round from a seed while every real run uses `system_entropy`.
"""

from __future__ import annotations

import secrets
from typing import Protocol


class Entropy(Protocol):
    """`entropy(n)` returns `n` bytes, uniform and independent of every earlier call."""

    def __call__(self, size_bytes: int, /) -> bytes:
        """The next `size_bytes` bytes."""
        ...


def system_entropy(size_bytes: int, /) -> bytes:
    """`size_bytes` from the operating system's generator (getrandom)."""
    return secrets.token_bytes(size_bytes)
