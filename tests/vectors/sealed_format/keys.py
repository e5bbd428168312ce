"""Keys by name: bech32 (BIP 173 without a length limit), X-Wing's key expansion, Ed25519 and ML-DSA-65 side by side."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.vectors.sealed_format.encoding import Json, framed, seed, sha256
from tests.vectors.sealed_format.recorded import RECORDINGS

ENCRYPTION = {
    **dict.fromkeys(("x25519", "other reader", "colleague", "second colleague", "third colleague", "stranger"), "x25519"),
    **dict.fromkeys(("hybrid", "hybrid colleague"), "mlkem768x25519"),
}
SIGNING = {
    **dict.fromkeys(("alice", "bob", "dora", "mallory"), "ed25519"),
    "carol": "ed25519-mldsa65",
    "half of carol": "ed25519",
    **dict.fromkeys((f"signer {number}" for number in range(9)), "ed25519"),
}
_PREFIXES = {
    "x25519": ("age", "age-secret-key-"),
    "mlkem768x25519": ("age1pq", "age-secret-key-pq-"),
    "ed25519": ("stfedsig", "stfed-signing-key-"),
    "ed25519-mldsa65": ("stfedsigpq", "stfed-signing-key-pq-"),
}
LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
ED25519_BYTES = 64
CONTEXT = b"stfed"


def bech32(prefix: str, data: bytes) -> str:
    bits = "".join(f"{octet:08b}" for octet in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    check = 1
    for value in [ord(x) >> 5 for x in prefix] + [0] + [ord(x) & 31 for x in prefix] + values + [0] * 6:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            check ^= term if top >> bit & 1 else 0
    values += [(check ^ 1) >> 5 * (5 - at) & 31 for at in range(6)]
    return prefix + "1" + "".join(LETTERS[value] for value in values)


def bech32_data(text: str) -> bytes:
    """The other way; writing the data again must give the same text, checksum and all."""
    prefix, _, letters = text.rpartition("1")
    bits = "".join(f"{LETTERS.index(letter):05b}" for letter in letters[:-6])
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))
    assert bech32(prefix, data) == text
    return data


def kind(name: str) -> str:
    return {**ENCRYPTION, **SIGNING}[name]


def secret(name: str) -> bytes:
    if name == "half of carol":
        return secret("carol")[:32]
    return seed(name, 64 if kind(name) == "ed25519-mldsa65" else 32)


def x25519_public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def hybrid_halves(private: bytes) -> tuple[MLKEM768PrivateKey, bytes]:
    expanded = hashlib.shake_256(private).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), expanded[64:]


@cache
def public(name: str) -> bytes:
    private = secret(name)
    match kind(name):
        case "x25519":
            return x25519_public(private)
        case "mlkem768x25519":
            lattice, curve = hybrid_halves(private)
            return lattice.public_key().public_bytes_raw() + x25519_public(curve)
    curve_public = Ed25519PrivateKey.from_private_bytes(private[:32]).public_key().public_bytes_raw()
    return curve_public + (MLDSA65PrivateKey.from_seed_bytes(private[32:]).public_key().public_bytes_raw() if private[32:] else b"")


@cache
def written(name: str) -> str:
    """The public key as text."""
    return bech32(_PREFIXES[kind(name)][0], public(name))


def sign(name: str, label: bytes, *parts: bytes) -> bytes:
    private, message = secret(name), framed(label, *parts)
    signature = Ed25519PrivateKey.from_private_bytes(private[:32]).sign(message)
    if private[32:]:
        lattice = MLDSA65PrivateKey.from_seed_bytes(private[32:])
        signature += RECORDINGS.take("ml-dsa-65", private[32:] + message, lambda: lattice.sign(message, CONTEXT))
    return signature


def listed(names: dict[str, str]) -> list[Json]:
    """Keys for `keys.json` and `signing_keys.json`."""
    entries = []
    for name, of_kind in names.items():
        letters = base64.b32encode(sha256(written(name).encode())[:10]).decode().lower()
        identity = bech32(_PREFIXES[of_kind][1], secret(name)).upper()
        fingerprint = "-".join(letters[at : at + 4] for at in (0, 4, 8, 12))
        field = "recipient" if names is ENCRYPTION else "public"
        entries.append(
            {
                "name": name,
                "kind": of_kind,
                "seed": secret(name).hex(),
                "identity": identity,
                field: written(name),
                "fingerprint": fingerprint,
            }
        )
    return entries
