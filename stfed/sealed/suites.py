"""The algorithms of a file, by one name for all of them: there is nothing to negotiate and nothing to mix.

Payload and keys are the same in all suites: FLOE with AES-256-GCM, HPKE with HKDF-SHA256 and ChaCha20-Poly1305. They differ in what a
signature covers. A signed file lists a hash of each ciphertext segment; GCM's own tags are no substitute, because whoever holds the key can
change the ciphertext under an unchanged tag.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from stfed.errors import LocalError, shown
from stfed.sealed.fields import unknown

DIGEST_BYTES = 32

Hash = Callable[[memoryview], bytes]


@dataclass(frozen=True)
class Suite:
    """One of them.

    Attributes:
        name: as it stands in a file.
        digest: name of the hash, None in an unsigned file.
        hash: segment to 32 bytes.
        slow: whether it takes longer than writing the segment to a file.
    """

    name: str
    digest: str | None = None
    hash: Hash | None = None
    slow: bool = False


def _blake3(segment: memoryview) -> bytes:
    return blake3(segment).digest()


def _sha256(segment: memoryview) -> bytes:
    return hashlib.sha256(segment).digest()


UNSIGNED = Suite("floe-aes256gcm")
SIGNED = {
    "blake3": Suite("floe-aes256gcm-blake3", "blake3", _blake3),
    "sha256": Suite("floe-aes256gcm-sha256", "sha256", _sha256, slow=True),
}
_BY_NAME = {suite.name: suite for suite in (UNSIGNED, *SIGNED.values())}


def suite_named(name: Any) -> Suite:
    """The suite of a file, or UnsupportedError."""
    if not isinstance(name, str) or name not in _BY_NAME:
        raise unknown(f"the suite {shown(name)}")
    return _BY_NAME[name]


def suite_for(signed: bool, digest: str) -> Suite:
    """The suite to write with, or LocalError."""
    if digest not in SIGNED:
        raise LocalError(f"there is no digest {digest!r}", hint=f"use {' or '.join(SIGNED)}")
    return SIGNED[digest] if signed else UNSIGNED
