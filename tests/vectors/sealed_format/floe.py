"""FLOE (c2sp.org/FLOE), as much of it as one message under fixed randomness needs."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.sealed_format.encoding import seed

HEADER_BYTES = 74
OVERHEAD_BYTES = 32


def _kdf(key: bytes, prefix: bytes, purpose: bytes, aad: bytes, size_bytes: int) -> bytes:
    return hmac.digest(key, prefix + purpose + aad + b"\x01", "sha384")[:size_bytes]


def prefix_of(iv: bytes, segment_bytes: int) -> bytes:
    return b"\0\0" + segment_bytes.to_bytes(4, "big") + (32).to_bytes(4, "big") + iv


def segment_key(key: bytes, aad: bytes, prefix: bytes) -> bytes:
    """AES key of the first 2^20 segments."""
    return _kdf(_kdf(key, prefix, b"MESSAGE_KEY:", aad, 48), prefix, b"DEK:" + bytes(8), aad, 32)


def position_ad(position: int, last: bool) -> bytes:
    return position.to_bytes(8, "big") + (b"\x01" if last else b"\x00")


def segments(plaintext_bytes: int, segment_bytes: int) -> int:
    return max(1, -(-plaintext_bytes // (segment_bytes - OVERHEAD_BYTES)))


def header(key: bytes, aad: bytes, iv: bytes, segment_bytes: int) -> bytes:
    prefix = prefix_of(iv, segment_bytes)
    return prefix + _kdf(key, prefix, b"HEADER_TAG:", aad, 32)


def message(key: bytes, aad: bytes, plain: bytes, name: str, segment_bytes: int) -> bytes:
    """The message, its randomness drawn from `name`."""
    out = header(key, aad, seed(name + " floe iv"), segment_bytes)
    cipher = AESGCM(segment_key(key, aad, out[:42]))
    chunk = segment_bytes - OVERHEAD_BYTES
    count = segments(len(plain), segment_bytes)
    for position in range(count):
        piece, last = plain[position * chunk : (position + 1) * chunk], position == count - 1
        iv = seed(f"{name} segment {position}", 12)
        out += (len(piece) + OVERHEAD_BYTES if last else 0xFFFFFFFF).to_bytes(4, "big")
        out += iv + cipher.encrypt(iv, piece, position_ad(position, last))
    return out
