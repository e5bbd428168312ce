"""Keys that files are sealed to: two kinds, named and written as age writes them (c2sp.org/age).

    mlkem768x25519   X-Wing, post-quantum and classical at once: `age1pq1...`, `AGE-SECRET-KEY-PQ-1...`. The default.
    x25519           short keys, no protection from a future quantum computer: `age1...`, `AGE-SECRET-KEY-1...`

Secret keys are seeds of 32 bytes. No input or output here; files are the business of `stfed.keys.keyfile`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, MalformedError, shown
from stfed.keys import bech32
from stfed.keys.fingerprint import fingerprint

SEED_BYTES = 32
FILE_KEY_BYTES = 32
_HPKE_TAG_BYTES = 16
_MLKEM768_PUBLIC_BYTES = 1184

_PrivateKey = X25519PrivateKey | MLKEM768X25519PrivateKey
_PublicKey = X25519PublicKey | MLKEM768X25519PublicKey


def _hybrid_pair(seed: bytes) -> tuple[_PrivateKey, bytes]:
    """X-Wing's key expansion: SHAKE256 of the seed gives the ML-KEM seed (64 bytes) and the X25519 key (32)."""
    expanded = hashlib.shake_256(seed).digest(96)
    lattice, curve = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(lattice, curve), public


def _hybrid_public(data: bytes) -> _PublicKey:
    lattice, curve = data[:_MLKEM768_PUBLIC_BYTES], data[_MLKEM768_PUBLIC_BYTES:]
    return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(lattice), X25519PublicKey.from_public_bytes(curve))


def _x25519_pair(seed: bytes) -> tuple[_PrivateKey, bytes]:
    private = X25519PrivateKey.from_private_bytes(seed)
    return private, private.public_key().public_bytes_raw()


@dataclass(frozen=True)
class Kind:
    """One kind of key. Attributes: its names, its sizes in bytes, and how `cryptography` builds its keys."""

    name: str
    nickname: str
    prefix: str
    secret_prefix: str
    public_bytes: int
    encapsulated_bytes: int
    suite: Suite
    pair: Callable[[bytes], tuple[_PrivateKey, bytes]]
    public: Callable[[bytes], _PublicKey]

    @property
    def body_bytes(self) -> int:
        """Length of a stanza's body: the encapsulated key and the sealed file key."""
        return self.encapsulated_bytes + FILE_KEY_BYTES + _HPKE_TAG_BYTES


def _suite(kem: KEM) -> Suite:
    return Suite(kem, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


HYBRID = Kind(
    "mlkem768x25519", "hybrid", "age1pq", "age-secret-key-pq-", 1216, 1120,
    _suite(KEM.MLKEM768_X25519), _hybrid_pair, _hybrid_public,
)  # fmt: skip
X25519 = Kind(
    "x25519", "x25519", "age", "age-secret-key-", 32, 32,
    _suite(KEM.X25519), _x25519_pair, X25519PublicKey.from_public_bytes,
)  # fmt: skip
KINDS = {kind.name: kind for kind in (HYBRID, X25519)}


def kind_named(name: str) -> Kind:
    """The kind with this name or nickname (`hybrid`, `x25519`), or LocalError."""
    for kind in KINDS.values():
        if name in (kind.name, kind.nickname):
            return kind
    raise LocalError(f"there is no kind of key called {name!r}", hint=f"use {' or '.join(kind.nickname for kind in KINDS.values())}")


@dataclass(frozen=True, repr=False)
class Recipient:
    """A public key."""

    kind: Kind
    public: bytes

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Reads `age1pq1...` or `age1...`; MalformedError if it is neither."""
        prefix, data = bech32.decode(text)
        if prefix in ("stfedsig", "stfedsigpq"):
            raise MalformedError("this key is for signatures; one for encryption is needed here", hint="it starts with age1pq1 or age1")
        if prefix.startswith(("age-secret-key-", "stfed-signing-key-")):
            raise MalformedError("this is a secret key; a public key is needed here", hint="use the KEY.pub beside it, and keep it secret")
        for kind in KINDS.values():
            if prefix == kind.prefix and len(data) == kind.public_bytes:
                return cls(kind, data)
        raise MalformedError(
            f"no key of ours starts with {shown(prefix)} and holds {len(data)} bytes", hint="it starts with age1pq1 or age1"
        )

    def __str__(self) -> str:
        return bech32.encode(self.kind.prefix, self.public)

    def __repr__(self) -> str:
        return f"Recipient({self.kind.name}, {self.fingerprint})"

    @cached_property
    def fingerprint(self) -> str:
        """80 bits for people to compare, of the key as it is written."""
        return fingerprint(str(self))


@dataclass(frozen=True, repr=False)
class Identity:
    """A secret key. Neither `str`, `repr` nor an error ever shows it; `secret_string` does."""

    kind: Kind
    _seed: bytes

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Reads `AGE-SECRET-KEY-PQ-1...` or `AGE-SECRET-KEY-1...`; MalformedError, without the text, if it is neither."""
        prefix, data = bech32.decode(text)
        for kind in KINDS.values():
            if prefix == kind.secret_prefix and len(data) == SEED_BYTES:
                return cls(kind, data)
        if prefix in ("stfed-signing-key-", "stfed-signing-key-pq-"):
            raise MalformedError("this secret key is for signatures; one for encryption is needed here")
        raise MalformedError("this is no secret key", hint="it starts with AGE-SECRET-KEY-PQ-1 or AGE-SECRET-KEY-1")

    def secret_string(self) -> str:
        """The secret key as it is kept in a file."""
        return bech32.encode(self.kind.secret_prefix, self._seed).upper()

    @cached_property
    def recipient(self) -> Recipient:
        """The public key that belongs to it."""
        return Recipient(self.kind, self._pair[1])

    @cached_property
    def _pair(self) -> tuple[_PrivateKey, bytes]:
        return self.kind.pair(self._seed)

    def __repr__(self) -> str:
        return f"Identity({self.kind.name}, {self.recipient.fingerprint}, secret hidden)"

    __str__ = __repr__

    def decrypt(self, body: bytes, info: bytes) -> bytes:
        """HPKE's Open, base mode; InvalidTag or ValueError from `cryptography` if `body` is not for this key and `info`."""
        return self.kind.suite.decrypt(body, self._pair[0], info=info)


def generate_keypair(kind: str = "hybrid", *, entropy: Entropy = system_entropy) -> tuple[Identity, Recipient]:
    """A new secret key and its public key.

    Args:
        kind: "hybrid" or "x25519".
        entropy: where the seed comes from.
    """
    identity = Identity(kind_named(kind), entropy(SEED_BYTES))
    return identity, identity.recipient
