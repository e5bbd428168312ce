"""Authenticated encryption: what opens was sealed under this key, nonce and associated data, or nothing comes out.

AES-256-GCM (NIST SP 800-38D) with 96-bit nonces and full 128-bit tags. The caller of `seal` answers for never using a nonce twice under
one key: a repeat gives away the XOR of the two plaintexts and the authentication key. `seal_random` draws the nonce instead, which is
safe up to 2^32 messages a key (section 8.3); in `stfed` a key seals at most a handful. GCM does not commit to its key: a ciphertext can
be made that opens under two of them, so where a receiver could be offered several keys, the key itself has to be committed to.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from stfed.crypto.random import Entropy
from stfed.errors import LocalError, PeerError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
BLOCK_BYTES = 16

# What one call of the library takes. Above it, 50.0 panics in Rust instead of raising an Exception, so a peer's two-gigabyte
# message would otherwise pass every `except Exception` on its way up.
MAX_PLAINTEXT_BYTES = (1 << 31) - 1 - TAG_BYTES


class AuthenticationError(PeerError):
    """The ciphertext was not sealed under this key, nonce and associated data, or was changed since."""


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Encrypts and authenticates `plaintext`, and authenticates `associated_data`.

    Args:
        key: 32 bytes.
        nonce: 12 bytes, never used before under this key.
        plaintext: at most `MAX_PLAINTEXT_BYTES`.
        associated_data: what the opener must know already; it is not part of the result.

    Returns:
        The ciphertext, as long as the plaintext, then the 16-byte tag.

    Raises:
        LocalError: an argument has a wrong length.
    """
    _check_lengths(key, nonce)
    if max(len(plaintext), len(associated_data)) > MAX_PLAINTEXT_BYTES:
        raise LocalError(f"cannot seal more than {MAX_PLAINTEXT_BYTES} bytes at once", hint="seal it in chunks")
    return AESGCM(key).encrypt(nonce, plaintext, associated_data)


def open_(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    """Returns the plaintext that `seal` was given with the same key, nonce and associated data.

    Raises:
        AuthenticationError: there is none. Which of the four is wrong cannot be told, and no byte of plaintext is returned.
        LocalError: the key or the nonce has a wrong length.
    """
    _check_lengths(key, nonce)
    if not TAG_BYTES <= len(ciphertext) <= MAX_PLAINTEXT_BYTES + TAG_BYTES:
        raise AuthenticationError(f"a ciphertext of {len(ciphertext)} bytes cannot have been sealed")
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated_data)
    except InvalidTag:
        raise AuthenticationError("the ciphertext is not authentic: wrong key, wrong context, or changed on the way") from None


def decrypt_blocks(key: bytes, nonce: bytes, ciphertext: bytes, blocks: Sequence[int]) -> bytes:
    """Some 16-byte blocks of what `seal` encrypted, without its tag: NOTHING here is authenticated.

    For a caller that kept only part of a ciphertext and holds what comes out against a commitment. Block i is encrypted under counter
    i + 2 (SP 800-38D, section 7.1, with a nonce of 96 bits).

    Args:
        key: 32 bytes.
        nonce: 12 bytes.
        ciphertext: the blocks, one behind the other.
        blocks: which ones they are.

    Raises:
        LocalError: an argument has a wrong length.
    """
    _check_lengths(key, nonce)
    if len(ciphertext) != BLOCK_BYTES * len(blocks):
        raise LocalError(f"{len(blocks)} blocks have {BLOCK_BYTES * len(blocks)} bytes, not {len(ciphertext)}")
    counters = b"".join(nonce + (block + 2).to_bytes(4, "big") for block in blocks)
    stream = Cipher(AES(key), ECB()).encryptor().update(counters)  # noqa: S305 - counters, each once
    return (int.from_bytes(ciphertext, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(ciphertext), "big")


def seal_random(key: bytes, plaintext: bytes, associated_data: bytes, entropy: Entropy) -> bytes:
    """`seal` under a fresh random nonce: nonce, ciphertext, tag."""
    nonce = entropy(NONCE_BYTES)
    return nonce + seal(key, nonce, plaintext, associated_data)


def open_random(key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """Opens what `seal_random` returned; raises as `open_` does."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise AuthenticationError(f"a ciphertext of {len(sealed)} bytes cannot have been sealed")
    return open_(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated_data)


def _check_lengths(key: bytes, nonce: bytes) -> None:
    # The library would take a key of 16 bytes for AES-128 and a nonce of any length from 8 bytes on.
    if len(key) != KEY_BYTES:
        raise LocalError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    if len(nonce) != NONCE_BYTES:
        raise LocalError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
