"""FLOE, random-access authenticated encryption (c2sp.org/FLOE; Fabrega, Len, Ristenpart and Rubin, ePrint 2025/2275).

One message is a 74-byte header and segments of a fixed size, each sealed alone under AES-256-GCM:

    header    parameters(10) | iv(32) | tag(32)
    segment   length(4) | iv(12) | ciphertext | tag(16)     length is 0xFFFFFFFF for all but the last

The header tag commits to key, iv and associated data, so a message opens under one key only. A segment's position and whether it is the
last are associated data of its own encryption, and its key is derived from header and position; segments can be read in any order and
none can be moved, repeated or brought from elsewhere. This class is the specification's random-access interface: the rules that make it
safe (each position sealed once, the number of segments known to the reader before it reads) are kept by `stfed.sealed.stream`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stfed.crypto.random import Entropy
from stfed.errors import LocalError, MalformedError
from stfed.sealed.errors import TamperedError, UnsupportedError

KEY_BYTES = 32
IV_BYTES = 32
HEADER_TAG_BYTES = 32
HEADER_BYTES = 10 + IV_BYTES + HEADER_TAG_BYTES
SEGMENT_IV_BYTES = 12
SEGMENT_TAG_BYTES = 16
OVERHEAD_BYTES = 4 + SEGMENT_IV_BYTES + SEGMENT_TAG_BYTES
MAX_SEGMENTS = 1 << 40
_MESSAGE_KEY_BYTES = 48
_NOT_LAST = b"\xff\xff\xff\xff"
_AES_256_GCM = b"\x00"
_HKDF_EXPAND_SHA384 = b"\x00"


@dataclass(frozen=True)
class Parameters:
    """What writer and reader agree on beforehand.

    Attributes:
        segment_bytes: length of a sealed segment, its overhead of 32 bytes included.
        rotation_bits: a new segment key every 2**rotation_bits segments. FLOE fixes 20; its test vectors use less.
    """

    segment_bytes: int = 1 << 20
    rotation_bits: int = 20

    @property
    def chunk_bytes(self) -> int:
        """Plaintext bytes of every segment but the last."""
        return self.segment_bytes - OVERHEAD_BYTES

    def encode(self) -> bytes:
        """PARAM_ENCODE of the specification: 10 bytes."""
        return _AES_256_GCM + _HKDF_EXPAND_SHA384 + self.segment_bytes.to_bytes(4, "big") + IV_BYTES.to_bytes(4, "big")


@dataclass(frozen=True, repr=False)
class Floe:
    """The key schedule of one message. Holds key material; may be shared by threads.

    Attributes:
        header: the 74 bytes that open the message.
        parameters: as agreed.
    """

    header: bytes
    parameters: Parameters
    _message_key: bytes
    _associated_data: bytes
    _segment_keys: dict[int, AESGCM] = field(default_factory=dict)

    @classmethod
    def start_encryption(cls, key: bytes, associated_data: bytes, parameters: Parameters, entropy: Entropy) -> Self:
        """Draws the message's iv and computes its header. `key` is 32 bytes and may serve many messages."""
        return cls._start(key, associated_data, parameters, entropy(IV_BYTES))

    @classmethod
    def start_decryption(cls, key: bytes, associated_data: bytes, parameters: Parameters, header: bytes) -> Self:
        """Checks the header, in constant time where it matters.

        Raises:
            MalformedError: if it is not 74 bytes long.
            UnsupportedError: if it names other parameters than those agreed on.
            TamperedError: if its tag does not fit key, iv and associated data.
        """
        if len(header) != HEADER_BYTES:
            raise MalformedError(f"the FLOE header is {len(header)} bytes long, not {HEADER_BYTES}")
        encoded = parameters.encode()
        if header[: len(encoded)] != encoded:
            raise UnsupportedError("the FLOE header names other parameters than the envelope")
        state = cls._start(key, associated_data, parameters, header[len(encoded) : -HEADER_TAG_BYTES])
        if not hmac.compare_digest(state.header, header):
            raise TamperedError("the FLOE header does not verify: it, the envelope or the lengths were changed after sealing")
        return state

    @classmethod
    def _start(cls, key: bytes, associated_data: bytes, parameters: Parameters, iv: bytes) -> Self:
        if len(key) != KEY_BYTES or len(iv) != IV_BYTES:
            raise LocalError(f"FLOE takes a key of {KEY_BYTES} and an iv of {IV_BYTES} bytes")
        prefix = parameters.encode() + iv
        header = prefix + _kdf(key, prefix, associated_data, b"HEADER_TAG:", HEADER_TAG_BYTES)
        return cls(header, parameters, _kdf(key, prefix, associated_data, b"MESSAGE_KEY:", _MESSAGE_KEY_BYTES), associated_data)

    def __repr__(self) -> str:
        return f"Floe(segment_bytes={self.parameters.segment_bytes}, key hidden)"

    def _cipher(self, position: int) -> AESGCM:
        if not 0 <= position < MAX_SEGMENTS:
            raise LocalError(f"segment {position} is outside what one FLOE message holds")
        epoch = position >> self.parameters.rotation_bits
        if epoch not in self._segment_keys:
            first = (epoch << self.parameters.rotation_bits).to_bytes(8, "big")
            prefix = self.header[:-HEADER_TAG_BYTES]
            self._segment_keys[epoch] = AESGCM(_kdf(self._message_key, prefix, self._associated_data, b"DEK:" + first, KEY_BYTES))
        return self._segment_keys[epoch]

    def seal_segment(self, position: int, last: bool, plaintext: memoryview, iv: bytes, out: memoryview) -> None:
        """Writes segment `position` into `out`.

        Args:
            position: 0 for the first. The caller seals each position once.
            last: whether this segment ends the message.
            plaintext: `chunk_bytes` bytes, or fewer if it is the last. May overlap `out` exactly at byte 16, nowhere else.
            iv: 12 fresh random bytes.
            out: 32 bytes longer than `plaintext`.
        """
        chunk_bytes = self.parameters.chunk_bytes
        if len(plaintext) > chunk_bytes or not (last or len(plaintext) == chunk_bytes) or len(out) != len(plaintext) + OVERHEAD_BYTES:
            raise LocalError(f"segment {position} takes {chunk_bytes} bytes, or fewer if it is the last, and 32 more of room")
        out[:4] = len(out).to_bytes(4, "big") if last else _NOT_LAST
        out[4:16] = iv
        self._cipher(position).encrypt_into(iv, plaintext, _position(position, last), out[16:])

    def open_segment(self, position: int, last: bool, segment: memoryview, out: memoryview) -> None:
        """Writes the plaintext of a segment into `out`, 32 bytes shorter than `segment`; on failure `out` is zeros.

        Raises:
            MalformedError: if the segment's length or length field is not that of position and finality.
            TamperedError: if it does not verify.
        """
        segment_bytes = self.parameters.segment_bytes
        fits = OVERHEAD_BYTES <= len(segment) <= segment_bytes if last else len(segment) == segment_bytes
        if not fits or segment[:4] != (len(segment).to_bytes(4, "big") if last else _NOT_LAST):
            raise MalformedError(f"segment {position} has a wrong length")
        try:
            self._cipher(position).decrypt_into(segment[4:16], segment[16:], _position(position, last), out)
        except InvalidTag:
            out[:] = bytes(len(out))  # the tag is checked last: by now unauthenticated plaintext has been written
            raise TamperedError(f"segment {position} does not verify: it was changed, or it belongs to another place or file") from None


def _position(position: int, last: bool) -> bytes:
    return position.to_bytes(8, "big") + (b"\x01" if last else b"\x00")


def _kdf(key: bytes, prefix: bytes, associated_data: bytes, purpose: bytes, size_bytes: int) -> bytes:
    """FLOE_KDF: HKDF-Expand with SHA-384 (RFC 5869), whose single block of 48 bytes is all that FLOE ever asks for."""
    return hmac.digest(key, prefix + purpose + associated_data + b"\x01", "sha384")[:size_bytes]
