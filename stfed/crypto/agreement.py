"""Diffie-Hellman on Curve25519: two parties that know each other's public key get the same 32 bytes, and nobody else does.

X25519 as in RFC 7748, through OpenSSL. A public key is any 32 bytes; the few whose point has low order give the same secret (zeros)
whoever multiplies it, which would let a coordinator choose it, so they are refused (RFC 7748, section 6.1). A shared secret is no key:
feed it to `kdf.derive` together with both public keys.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from stfed.crypto.random import Entropy
from stfed.errors import LocalError, PeerError

PRIVATE_BYTES = 32
PUBLIC_BYTES = 32
SECRET_BYTES = 32

_FIELD = 2**255 - 19
# Curve25519 has 8 and its twist 4 times a prime number of points (RFC 7748, section 4.1). Both subgroups are cyclic, so the points of low
# order have u = 0 (order 2, and what stands for the neutral element), u = 1 and u = -1 (order 4, on the curve and on the twist) and two
# more on the curve (order 8): five values, and each of them in every encoding, since `is_low_order` reduces as X25519 does.
_LOW_ORDER_U = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)


class LowOrderPointError(PeerError):
    """The peer's public key has low order: the shared secret would be zero whatever our private key is."""


def generate(entropy: Entropy) -> bytes:
    """A fresh private key: any 32 bytes are one, X25519 itself clears and sets the bits it has to."""
    return entropy(PRIVATE_BYTES)


def public_key(private: bytes) -> bytes:
    """The 32-byte public key that belongs to `private`."""
    return _private(private).public_key().public_bytes_raw()


def shared_secret(private: bytes, public: bytes) -> bytes:
    """The 32 bytes that both sides compute.

    Raises:
        LowOrderPointError: `public` has low order.
        LocalError: an argument has not 32 bytes.
    """
    return shared_secrets(private, (public,))[0]


def shared_secrets(private: bytes, publics: Iterable[bytes]) -> list[bytes]:
    """`shared_secret` with each of `publics`, in about half the time: loading a private key costs as much as an exchange.

    Raises:
        LowOrderPointError: one of `publics` has low order.
        LocalError: an argument has not 32 bytes.
    """
    ours = _private(private)
    return [_exchange(ours, public) for public in publics]


def is_low_order(public: bytes) -> bool:
    """Whether `shared_secret` would refuse this public key, told without a private key and without an exchange.

    Complete: the top bit, which X25519 ignores, is dropped, non-canonical encodings are reduced, and the u-coordinates of all points of
    low order on the curve and on its twist are known.

    Raises:
        LocalError: `public` has not 32 bytes.
    """
    _check_public(public)
    return int.from_bytes(public, "little") % 2**255 % _FIELD in _LOW_ORDER_U


def is_canonical(public: bytes) -> bool:
    """Whether this is the one encoding of its u-coordinate: below 2^255 - 19, the top bit clear.

    X25519 itself takes any 32 bytes, so two different public keys can be one point; who compares keys has to ask this first.

    Raises:
        LocalError: `public` has not 32 bytes.
    """
    _check_public(public)
    return int.from_bytes(public, "little") < _FIELD


def _exchange(ours: X25519PrivateKey, public: bytes) -> bytes:
    _check_public(public)
    try:
        return ours.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        # The length is right, so this is the one other refusal there is: OpenSSL found the result to be zero.
        raise LowOrderPointError("the X25519 public key has low order and gives no secret") from None


def _private(private: bytes) -> X25519PrivateKey:
    if len(private) != PRIVATE_BYTES:
        raise LocalError(f"an X25519 private key has {PRIVATE_BYTES} bytes, not {len(private)}")
    return X25519PrivateKey.from_private_bytes(private)


def _check_public(public: bytes) -> None:
    if len(public) != PUBLIC_BYTES:
        raise LocalError(f"an X25519 public key has {PUBLIC_BYTES} bytes, not {len(public)}")
