"""Key derivation and hashing with unambiguous inputs.

`derive` is HKDF with SHA-256 (RFC 5869) whose `info` is the TLS-style encoding of a label and its parts; `digest` is SHA-256 over the
same encoding. Because every part carries its length, no two different lists of parts give the same input.
"""

from __future__ import annotations

import hashlib
import hmac

from stfed.crypto.labels import Label
from stfed.wire import Writer

KEY_BYTES = 32
DIGEST_BYTES = 32
_ZERO_SALT = bytes(32)
_FRAMED_LABELS = {label: Writer().opaque(label.value).getvalue() for label in Label}


def framed(label: Label, *parts: bytes) -> bytes:
    """The label and the parts, each behind its length in four big-endian bytes (the encoding of `wire.Writer.opaque`): injective."""
    pieces = [_FRAMED_LABELS[label]]
    for part in parts:
        pieces.append(len(part).to_bytes(4, "big"))
        pieces.append(part)
    return b"".join(pieces)


def digest(label: Label, *parts: bytes) -> bytes:
    """SHA-256 over `framed(label, *parts)`: 32 bytes."""
    return hashlib.sha256(framed(label, *parts)).digest()


def derive(secret: bytes, label: Label, *parts: bytes, salt: bytes = b"") -> bytes:
    """One 32-byte key: HKDF-SHA256 (RFC 5869) of `secret`, with `info = framed(label, *parts)`."""
    return expand(extract(secret, salt=salt), framed(label, *parts))


def extract(secret: bytes, *, salt: bytes = b"") -> bytes:
    """HKDF-Extract (RFC 5869, section 2.2): what `expand` takes; done once where several keys come of one secret.

    Written with `hmac.digest`, as `expand` is, instead of the library's HKDF object because a round derives thousands of keys and these
    two calls are all that there is to it (3 us instead of 30 us); a test holds them against `cryptography`'s HKDF.
    """
    return hmac.digest(salt or _ZERO_SALT, secret, "sha256")


def expand(pseudo_random_key: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3) to one block, 32 bytes; `info` is what `framed` returns."""
    return hmac.digest(pseudo_random_key, info + b"\x01", "sha256")


def equal(left: bytes, right: bytes) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(left, right)
