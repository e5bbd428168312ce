"""HPKE (RFC 9180), base mode, single shot: DHKEM(X25519, HKDF-SHA256) or X-Wing, with HKDF-SHA256 and ChaCha20-Poly1305."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.vectors.sealed_format.encoding import seed
from tests.vectors.sealed_format.keys import hybrid_halves, kind, public, secret, x25519_public
from tests.vectors.sealed_format.recorded import RECORDINGS

_DHKEM_X25519, _X_WING = b"\x00\x20", b"\x64\x7a"
_KDF_ID, _AEAD_ID = b"\x00\x01", b"\x00\x03"
_X_WING_LABEL = b"\\.//^\\"


def _extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm, "sha256")


def _expand(suite_id: bytes, prk: bytes, label: bytes, info: bytes, size_bytes: int) -> bytes:
    labeled = size_bytes.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + info
    return hmac.digest(prk, labeled + b"\x01", "sha256")[:size_bytes]


def _agree(ephemeral: bytes, peer: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(ephemeral).exchange(X25519PublicKey.from_public_bytes(peer))


def _dhkem(agreed: bytes, encapsulated: bytes, recipient: bytes) -> bytes:
    suite_id = b"KEM" + _DHKEM_X25519
    return _expand(suite_id, _extract(suite_id, b"", b"eae_prk", agreed), b"shared_secret", encapsulated + recipient, 32)


def _x_wing(lattice_shared: bytes, agreed: bytes, curve_ciphertext: bytes, curve_public: bytes) -> bytes:
    return hashlib.sha3_256(lattice_shared + agreed + curve_ciphertext + curve_public + _X_WING_LABEL).digest()


def _encapsulated(name: str, randomness: str) -> tuple[bytes, bytes]:
    """Encapsulated key and shared secret. ML-KEM's part is recorded; its secret is had by decapsulating, which has no randomness."""
    ephemeral, recipient = seed(randomness), public(name)
    curve = x25519_public(ephemeral)
    if kind(name) == "x25519":
        return curve, _dhkem(_agree(ephemeral, recipient), curve, recipient)
    lattice, _ = hybrid_halves(secret(name))
    ciphertext = RECORDINGS.take("ml-kem-768", recipient, lambda: lattice.public_key().encapsulate()[1])
    shared = _x_wing(lattice.decapsulate(ciphertext), _agree(ephemeral, recipient[1184:]), curve, recipient[1184:])
    return ciphertext + curve, shared


def _decapsulated(name: str, encapsulated: bytes) -> bytes:
    """The shared secret."""
    if kind(name) == "x25519":
        return _dhkem(_agree(secret(name), encapsulated), encapsulated, public(name))
    lattice, curve = hybrid_halves(secret(name))
    ciphertext, curve_ciphertext = encapsulated[:1088], encapsulated[1088:]
    return _x_wing(lattice.decapsulate(ciphertext), _agree(curve, curve_ciphertext), curve_ciphertext, public(name)[1184:])


def _schedule(name: str, shared: bytes, info: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    """Key and nonce of the only message."""
    suite_id = b"HPKE" + (_DHKEM_X25519 if kind(name) == "x25519" else _X_WING) + _KDF_ID + _AEAD_ID
    context = b"\x00" + _extract(suite_id, b"", b"psk_id_hash", b"") + _extract(suite_id, b"", b"info_hash", info)
    schedule = _extract(suite_id, shared, b"secret", b"")
    key, nonce = _expand(suite_id, schedule, b"key", context, 32), _expand(suite_id, schedule, b"base_nonce", context, 12)
    return ChaCha20Poly1305(key), nonce


def seal(name: str, info: bytes, plaintext: bytes, randomness: str) -> tuple[bytes, bytes]:
    """Encapsulated key and ciphertext for the key called `name`."""
    encapsulated, shared = _encapsulated(name, randomness)
    cipher, nonce = _schedule(name, shared, info)
    return encapsulated, cipher.encrypt(nonce, plaintext, b"")


def open_(name: str, info: bytes, encapsulated: bytes, ciphertext: bytes) -> bytes:
    """The plaintext, or cryptography's InvalidTag."""
    cipher, nonce = _schedule(name, _decapsulated(name, encapsulated), info)
    return cipher.decrypt(nonce, ciphertext, b"")
