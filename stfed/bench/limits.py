"""What this machine can do at best: the two operations that masking consists of, alone, in cache, with nothing around them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_REPEATS = 400
_SIZES_BYTES = (1 << 17, 1 << 18, 1 << 19)


@dataclass(frozen=True)
class Limits:
    """Process time on one core.

    Attributes:
        keystream_ns: AES-256 keystream for one 32-bit word.
        add_ns: adding it to a sum in cache.
    """

    keystream_ns: float
    add_ns: float

    @property
    def mask_ns(self) -> float:
        """One mask on one word."""
        return self.keystream_ns + self.add_ns


def measure() -> Limits:
    """The least of some hundred tries of each: what is left when no neighbour interferes. At the size that is best for this machine."""
    return min((_at(size_bytes) for size_bytes in _SIZES_BYTES), key=lambda found: found.mask_ns)


def _at(size_bytes: int) -> Limits:
    zeros, nonce = bytes(size_bytes), bytes(12)
    stream = np.empty(size_bytes + 16, np.uint8)
    cipher = AESGCM(os.urandom(32))
    words, total = stream[:size_bytes].view(np.uint32), np.zeros(size_bytes // 4, np.uint32)
    keystream_s = _least(lambda: cipher.encrypt_into(nonce, zeros, None, stream.data))
    add_s = _least(lambda: np.add(total, words, out=total))
    return Limits(1e9 * keystream_s / total.size, 1e9 * add_s / total.size)


def _least(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return min(times) / 1e9
