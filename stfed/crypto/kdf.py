"""Key derivation and hashing with unambiguous inputs.

`derive` is HKDF with SHA-256 (RFC 5869) whose `info` is the TLS-style encoding of a label and its parts; `digest` is SHA-256 over the
same encoding. Because every part carries its length, no two different lists of parts give the same input.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from stfed.crypto.labels import Label
from stfed.wire import Writer

KEY_BYTES = 32
DIGEST_BYTES = 32
_BLOCK_BYTES = 64
_INNER, _OUTER = (int.from_bytes(pad * _BLOCK_BYTES, "big") for pad in (b"\x36", b"\x5c"))
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
    return sha256(framed(label, *parts)).digest()


def derive(secret: bytes, label: Label, *parts: bytes, salt: bytes = b"") -> bytes:
    """One 32-byte key: HKDF-SHA256 (RFC 5869) of `secret`, with `info = framed(label, *parts)`."""
    return expand(extract(secret, salt=salt), framed(label, *parts))


def extract(secret: bytes, *, salt: bytes = b"") -> bytes:
    """HKDF-Extract (RFC 5869, section 2.2): what `expand` takes; done once where several keys come of one secret."""
    return mac(_ZERO_SALT_BLOCKS if not salt else mac_key(salt), secret)


def expand(pseudo_random_key: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3) to one block, 32 bytes; `info` is what `framed` returns."""
    return mac(mac_key(pseudo_random_key), info + b"\x01")


def expand_all(pseudo_random_key: bytes, *infos: bytes) -> list[bytes]:
    """`expand` for several infos; the key is made ready once."""
    inner, outer = mac_key(pseudo_random_key)
    return [sha256(outer + sha256(inner + info + b"\x01").digest()).digest() for info in infos]  # `mac`, without its calls


def mac_key(key: bytes) -> tuple[bytes, bytes]:
    """An HMAC-SHA256 key (RFC 2104) as the two blocks that `mac` hashes before anything else; as secret as the key.

    Written out, instead of the library's HMAC or HKDF objects, because a round derives thousands of keys: 0.7 us each where the key or the
    salt is the same, not 1.4 (`hmac.digest`) or 30 (`HKDF`). Tests hold it against `cryptography`'s HKDF.
    """
    if len(key) > _BLOCK_BYTES:
        key = sha256(key).digest()
    number = int.from_bytes(key.ljust(_BLOCK_BYTES, b"\0"), "big")
    return (number ^ _INNER).to_bytes(_BLOCK_BYTES, "big"), (number ^ _OUTER).to_bytes(_BLOCK_BYTES, "big")


def mac(blocks: tuple[bytes, bytes], message: bytes) -> bytes:
    """HMAC-SHA256 of the message under the key that `mac_key` made ready: 32 bytes."""
    inner, outer = blocks
    return sha256(outer + sha256(inner + message).digest()).digest()


_ZERO_SALT_BLOCKS = mac_key(bytes(DIGEST_BYTES))


def equal(left: bytes, right: bytes) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(left, right)
