"""SEAL's streams, written and read by us: not a byte of one is anybody's choice but the numbers in it.

A stream is SEAL's header of 16 bytes and a body, plain or compressed. A body is made of heads, which are the same for all objects of one
kind and parameters, and of polynomials: 64-bit words, each below its modulus, in the order of the number-theoretic transform. Reading
compares every head with the one that writing would have put there, so there is one way to read a stream and nothing in it is interpreted.
What SEAL is given to read was put together here, uncompressed, from words that have been checked: no decompressor and no parser of SEAL's
sees what a stranger sent.

The fields are those of SEAL 4: `Ciphertext::save_members`, `DynArray::save_members`, `KSwitchKeys::save_members`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.seal import dump, seal
from stfed.errors import LocalError, MalformedError

_MAGIC, _HEADER_BYTES, _MAJOR = 0xA15E, 16, 4
_NONE, _ZSTD = 0, 2
_HEADER = struct.Struct("<HBBBBHQ")
"""Magic number, length of this header, major and minor version, compression, zero, length of the stream with this header."""
_CIPHERTEXT = struct.Struct("<4QBQQQdQ")
"""parms_id, whether transformed, polynomials, degree, moduli, scale, correction factor (BGV's; 1)."""
_PLAINTEXT = struct.Struct("<4QQd")
"""parms_id, coefficients, scale."""
_COUNT = struct.Struct("<Q")

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Form:
    """What all ciphertexts of one level have in common; keys are ciphertexts too.

    Attributes:
        parms_id: SEAL's name of the level.
        degree: N.
        moduli: how many there are.
        scale: of the numbers; 1 of a key.
    """

    parms_id: tuple[int, ...]
    degree: int
    moduli: int
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the words: two polynomials, each modulo each modulus."""
        return 2, self.moduli, self.degree

    @property
    def words_bytes(self) -> int:
        """How much memory the words take."""
        return 16 * self.moduli * self.degree

    @property
    def head(self) -> bytes:
        """What stands before the words in a ciphertext's body."""
        fields = _CIPHERTEXT.pack(*self.parms_id, 1, 2, self.degree, self.moduli, self.scale, 1)
        return fields + _array_head(2 * self.moduli * self.degree)

    @property
    def secret_head(self) -> bytes:
        """The same in a secret key's body, which has one polynomial."""
        words = self.moduli * self.degree
        return _PLAINTEXT.pack(*self.parms_id, words, 1.0) + _array_head(words)


def stream(*parts: bytes | Words) -> bytes:
    """A whole uncompressed stream with this body."""
    body: list[Any] = [part if isinstance(part, bytes) else part.reshape(-1).view(np.uint8).data for part in parts]
    return b"".join((_header(sum(map(len, body))), *body))


def body(thing: Any, size_bytes: int) -> memoryview:
    """What SEAL writes of an object, decompressed.

    Args:
        thing: the object.
        size_bytes: how long that must be; no more memory is taken, whatever the compressed stream says.

    Raises:
        MalformedError: it has another length, or SEAL writes in a way that this release does not know.
    """
    data = memoryview(dump(thing))
    if data[:_HEADER_BYTES] != _HEADER.pack(_MAGIC, _HEADER_BYTES, *_version(), _ZSTD, 0, len(data)):
        raise MalformedError("SEAL wrote a stream that this release cannot read", hint="pip install 'stfed[encrypted]'")
    out = np.empty(size_bytes + 1, np.uint8)
    with _zstd().ZstdDecompressor().stream_reader(data[_HEADER_BYTES:]) as reader:
        found = reader.readinto(out)
    if found != size_bytes:
        raise MalformedError(f"SEAL wrote {found} bytes where {size_bytes} are due")
    return out.data[:size_bytes]


def words(data: memoryview, head: bytes, shape: Sequence[int]) -> Words:
    """The words behind a head: a view of `data`.

    Raises:
        MalformedError: another head, or length.
    """
    if len(data) != len(head) + 8 * math.prod(shape) or data[: len(head)] != head:
        raise MalformedError("this is no ciphertext or key of this level and these parameters: a field of SEAL's stream differs")
    array: Words = np.ndarray(tuple(shape), "<u8", data, len(head))
    return array


def embedded(form: Form) -> bytes:
    """The head of a ciphertext that is part of something larger: with a header of its own."""
    return _header(len(form.head) + form.words_bytes) + form.head


def switching_head(form: Form, places: int) -> bytes:
    """What a set of key-switching keys begins with. Then come `places` lists: a count in 8 bytes, and as many embedded keys."""
    return struct.pack("<4QQ", *form.parms_id, places)


def count(number: int) -> bytes:
    """A number as SEAL writes it."""
    return _COUNT.pack(number)


def _header(body_bytes: int) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER_BYTES, *_version(), _NONE, 0, _HEADER_BYTES + body_bytes)


def _array_head(length: int) -> bytes:
    return _header(_COUNT.size + 8 * length) + _COUNT.pack(length)


@cache
def _version() -> tuple[int, int]:
    """Of the SEAL that is installed, as it writes it."""
    major, minor = dump(seal().Plaintext())[3:5]
    if major != _MAJOR:
        raise LocalError(f"streams of SEAL {major} are not known here, only those of SEAL {_MAJOR}", hint="pip install 'stfed[encrypted]'")
    return major, minor


@cache
def _zstd() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise LocalError(f"reading what SEAL writes needs zstandard: {error}", hint="pip install 'stfed[encrypted]'") from None
    return zstandard
