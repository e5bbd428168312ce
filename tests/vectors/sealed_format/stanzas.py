"""Stanzas: the file key for one recipient, or under a passphrase."""

from __future__ import annotations

import hmac
import unicodedata

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.vectors.sealed_format import hpke
from tests.vectors.sealed_format.encoding import PASSPHRASE as PASSPHRASE_LABEL
from tests.vectors.sealed_format.encoding import STANZA_TAG, Json, derive, framed, from_base64, seed, to_base64
from tests.vectors.sealed_format.keys import kind, public

PASSPHRASE = "correct horse battery staple"  # not a secret: a vector
Cost = tuple[int, int, int]
COST: Cost = (64, 2, 1)
"""Argon2id's memory in KiB, iterations and lanes: as little as a reader takes, for quick tests."""


def written(of_kind: str, tag: bytes, body: bytes) -> Json:
    return {"kind": of_kind, "tag": tag.hex(), "body": to_base64(body)}


def marked(name: str, encapsulated: bytes, ciphertext: bytes) -> Json:
    """A stanza whose tag says that it is for the key called `name`."""
    tag = hmac.digest(public(name), framed(STANZA_TAG, encapsulated), "sha256")[:8]
    return written(kind(name), tag, encapsulated + ciphertext)


def to_key(name: str, info: bytes, file_key: bytes, randomness: str) -> Json:
    return marked(name, *hpke.seal(name, info, file_key, randomness))


def prepared(passphrase: str) -> bytes:
    """RFC 8265's OpaqueString: every space is the ASCII one, then NFC."""
    spaced = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in passphrase)
    return unicodedata.normalize("NFC", spaced).encode()


def stretched(passphrase: str, salt: bytes, memory_kib: int, iterations: int, lanes: int) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory_kib).derive(prepared(passphrase))


def to_passphrase(
    info: bytes, file_key: bytes, randomness: str, *, passphrase: str = PASSPHRASE, cost: Cost = COST, claimed: Cost | None = None
) -> Json:
    """Under a passphrase. `claimed` are other costs to write down than those that were paid."""
    salt = seed(f"{randomness} salt", 16)
    stretched_key = stretched(passphrase, salt, *cost)
    key, commitment = (derive(stretched_key, PASSPHRASE_LABEL, purpose) for purpose in (b"key", b"commitment"))
    numbers = b"".join(number.to_bytes(4, "big") for number in claimed or cost)
    return written("argon2id", bytes(8), numbers + salt + commitment + AESGCM(key).encrypt(bytes(12), file_key, info))


def from_passphrase(stanza: Json, info: bytes, passphrase: str) -> bytes:
    """The file key, or cryptography's InvalidTag."""
    body = from_base64(stanza["body"])
    memory_kib, iterations, lanes = (int.from_bytes(body[at : at + 4], "big") for at in (0, 4, 8))
    stretched_key = stretched(passphrase, body[12:28], memory_kib, iterations, lanes)
    if derive(stretched_key, PASSPHRASE_LABEL, b"commitment") != body[28:60]:
        raise InvalidTag
    return AESGCM(derive(stretched_key, PASSPHRASE_LABEL, b"key")).decrypt(bytes(12), body[60:], info)
