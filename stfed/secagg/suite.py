"""The cipher suites: which primitives a run uses, as one number in every message.

The number is inside every signature, key derivation and transcript, so a coordinator cannot make two parties believe in different
suites, and a new one (a hybrid key agreement with ML-KEM-768, a ChaCha20 keystream) needs no new message. There is no negotiation:
the coordinator names one suite and a party that does not know it, or whose policy does not allow it, refuses.
"""

from __future__ import annotations

from enum import IntEnum

from stfed.errors import DecodeError


class Suite(IntEnum):
    """X25519, HKDF-SHA256, AES-256-GCM, AES-256 counter keystream, SHA-256, Shamir over GF(65521), Ed25519."""

    X25519_AES256 = 1


def suite_from(value: int) -> Suite:
    """The suite of this number, or a `DecodeError` that lists the known ones."""
    try:
        return Suite(value)
    except ValueError:
        known = ", ".join(str(suite.value) for suite in Suite)
        raise DecodeError(f"cipher suite {value} is not known here (known: {known})") from None
