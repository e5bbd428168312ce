"""Long-term identities: a signature says that the holder of this key said exactly these parts, for exactly this purpose.

Ed25519 as in RFC 8032 (the pure variant), through OpenSSL. What is signed is `kdf.framed(label, *parts)`: the label keeps a signature
made for one purpose from counting for another, and the lengths keep one list of parts from reading as another. Verification raises and
returns nothing, so that it cannot be ignored by forgetting to look at a bool.

Formats that fix what is signed (c2sp.org/signed-note) use `sign_text`: the bare text, which may not begin with a zero byte. Everything
framed does, as the first byte of a label's length, so no text counts as a labelled message and no labelled message as a text.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stfed.crypto.kdf import framed
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy
from stfed.errors import LocalError, PeerError

PRIVATE_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

_NO_TEXT = (b"", b"\0")  # how no text to be signed begins
_FIELD = 2**255 - 19
# The y-coordinates of the eight points of low order: 1 (the neutral element), -1 (order 2), 0 (order 4) and plus and minus one root
# (order 8). OpenSSL takes such a point for a public key, and there are signatures under it that fit any message: a party with that key
# could disown whatever it signed, and anybody could sign for it.
_Y_OF_ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_LOW_ORDER_Y = frozenset({0, 1, _FIELD - 1, _Y_OF_ORDER_8, _FIELD - _Y_OF_ORDER_8})


class BadSignatureError(PeerError):
    """The signature was not made with this key over this label and these parts."""


class Identity:
    """A long-term signing key. Its `repr` shows the fingerprint of the public half and nothing else."""

    __slots__ = ("_key", "_public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, entropy: Entropy) -> Identity:
        """A fresh identity."""
        return cls.from_private_bytes(entropy(PRIVATE_BYTES))

    @classmethod
    def from_private_bytes(cls, private: bytes) -> Identity:
        """The identity whose `private_bytes()` these 32 bytes are (the seed of RFC 8032)."""
        if len(private) != PRIVATE_BYTES:
            raise LocalError(f"an Ed25519 private key has {PRIVATE_BYTES} bytes, not {len(private)}")
        return cls(Ed25519PrivateKey.from_private_bytes(private))

    def private_bytes(self) -> bytes:
        """The 32 secret bytes, to be stored; whoever has them is this identity."""
        return self._key.private_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        """The 32-byte public key."""
        return self._public

    def sign(self, label: Label, *parts: bytes) -> bytes:
        """The 64-byte signature over the label and the parts; the same input always gives the same signature."""
        return self._key.sign(framed(label, *parts))

    def sign_text(self, text: bytes) -> bytes:
        """The 64-byte signature over a bare text, for formats that fix what is signed; LocalError if it is empty or starts with zero."""
        if text[:1] in _NO_TEXT:
            raise LocalError("a text to be signed is not empty and does not begin with a zero byte")
        return self._key.sign(text)

    def __repr__(self) -> str:
        return f"Identity({fingerprint(self._public)})"


def verify(public: bytes, signature: bytes, label: Label, *parts: bytes) -> None:
    """Returns if `signature` was made by the identity `public` over this label and these parts.

    Raises:
        BadSignatureError: it was not, or `public` is no key that a signature can be pinned to (wrong length, low order).
    """
    _verify(public, signature, framed(label, *parts), f"the {label.name} signature")


def verify_text(public: bytes, signature: bytes, text: bytes) -> None:
    """Returns if `signature` was made by the identity `public` with `sign_text` over this text.

    Raises:
        BadSignatureError: as `verify`, and for what `sign_text` would not sign.
    """
    if text[:1] in _NO_TEXT:
        raise BadSignatureError("this is no text that a signature counts for: it is empty or begins with a zero byte")
    _verify(public, signature, text, "the signature of the text")


def _verify(public: bytes, signature: bytes, message: bytes, what: str) -> None:
    if len(public) != PUBLIC_BYTES or int.from_bytes(public, "little") % 2**255 % _FIELD in _LOW_ORDER_Y:
        raise BadSignatureError("this is no Ed25519 public key that a signature can be pinned to")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise BadSignatureError(f"{what} is not by the identity {fingerprint(public)} over this content") from None


def fingerprint(public: bytes) -> str:
    """Sixteen hex digits of SHA-256 in groups of four, for people to tell keys apart.

    64 bits are too few to trust a key by: compare whole keys, or the roster they come from.
    """
    digits = hashlib.sha256(public).hexdigest()[:16]
    return " ".join(digits[at : at + 4] for at in range(0, 16, 4))
