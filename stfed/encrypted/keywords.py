"""Keys as their numbers and nothing else, packed as `stfed.encrypted.words` packs ciphertexts; a set has one length for its parameters.

A public key is two polynomials modulo q_0 ... q_D and the special modulus. A key-switching key is one such pair for each of q_0 ... q_D.
Relinearisation has one of them, for s^2. Rotations have one for each Galois element g that SEAL makes by default, in the order of g:
3^(2^i) and its inverse modulo 2 N for every i below log2(N) - 1, and 2 N - 1. A secret key is one polynomial.

What comes from a file is checked here, as words of ciphertexts are, before SEAL reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stfed.encrypted import bits, streams
from stfed.encrypted.streams import Form
from stfed.encrypted.words import packed, unpacked
from stfed.errors import MalformedError

if TYPE_CHECKING:
    from stfed.encrypted.parameters import Parameters


def galois_elements(degree: int) -> list[int]:
    """The rotations by powers of two in both directions, and conjugation: g, ascending."""
    whole, elements, forward = 2 * degree, {2 * degree - 1}, 3
    for _ in range(degree.bit_length() - 2):
        elements |= {forward, pow(forward, -1, whole)}
        forward = forward * forward % whole
    return sorted(elements)


def public_bytes(parameters: Parameters) -> int:
    """The length of a public key's words."""
    return 2 * secret_bytes(parameters)


def relin_bytes(parameters: Parameters) -> int:
    """Of relinearisation keys."""
    return _digits(parameters) * public_bytes(parameters)


def galois_bytes(parameters: Parameters) -> int:
    """Of Galois keys."""
    return len(galois_elements(parameters.degree)) * relin_bytes(parameters)


def secret_bytes(parameters: Parameters) -> int:
    """Of a secret key."""
    return parameters.degree * sum(parameters.modulus_bits) // 8


class KeyWords:
    """Between SEAL's keys and their words.

    Args:
        parameters: the set.
        moduli: its primes, the special one last.
        parms_id: SEAL's name of the level that keys have.
    """

    def __init__(self, parameters: Parameters, moduli: Sequence[int], parms_id: Sequence[int]) -> None:
        self._parameters, self._moduli = parameters, moduli
        self._form = Form(tuple(parms_id), parameters.degree, len(moduli))
        self._galois_places = [(element - 1) // 2 for element in galois_elements(parameters.degree)]

    def of_public(self, key: Any) -> bytes:
        """The words of a PublicKey."""
        form = self._form
        body = streams.body(key, len(form.head) + form.words_bytes)
        return packed(streams.words(body, form.head, form.shape), self._moduli)

    def public_stream(self, data: bytes) -> bytes:
        """A PublicKey for SEAL to read; MalformedError if it is none of these parameters."""
        return streams.stream(self._form.head, *self._pairs(data, 1))

    def of_relin(self, keys: Any) -> bytes:
        """The words of RelinKeys."""
        return self._of_switching(keys, 1, [0])

    def relin_stream(self, data: bytes) -> bytes:
        """RelinKeys for SEAL; as `public_stream`."""
        return self._switching_stream(data, 1, [0])

    def of_galois(self, keys: Any) -> bytes:
        """The words of GaloisKeys."""
        return self._of_switching(keys, self._parameters.degree, self._galois_places)

    def galois_stream(self, data: bytes) -> bytes:
        """GaloisKeys for SEAL; as `public_stream`."""
        return self._switching_stream(data, self._parameters.degree, self._galois_places)

    def of_secret(self, key: Any) -> bytes:
        """The words of a SecretKey: as secret as it."""
        form, head = self._form, self._form.secret_head
        words = streams.words(streams.body(key, len(head) + form.words_bytes // 2), head, form.shape[1:])
        return b"".join(bits.pack(words[at].copy(), modulus.bit_length()) for at, modulus in enumerate(self._moduli))

    def secret_stream(self, data: bytes) -> bytes:
        """A SecretKey for SEAL; as `public_stream`."""
        if len(data) != secret_bytes(self._parameters):
            raise MalformedError(f"{len(data)} bytes, and a secret key of these parameters has {secret_bytes(self._parameters)}")
        parts, start = [], 0
        for modulus in self._moduli:
            length = self._parameters.degree * modulus.bit_length() // 8
            parts.append(bits.unpack(data[start : start + length], modulus.bit_length()))
            if parts[-1].max() >= modulus:
                raise MalformedError("a coefficient of the secret key is not below its modulus")
            start += length
        return streams.stream(self._form.secret_head, *parts)

    def _of_switching(self, keys: Any, places: int, filled: Sequence[int]) -> bytes:
        form, embedded = self._form, streams.embedded(self._form)
        skeleton = list(self._skeleton(places, filled))
        total = sum(len(head) for head in skeleton) + len(filled) * _digits(self._parameters) * form.words_bytes
        body, at, parts = streams.body(keys, total), 0, list[bytes]()
        for head in skeleton:
            if body[at : at + len(head)] != head:
                raise MalformedError("SEAL made other keys than this release expects: a field of its stream differs")
            at += len(head)
            if head.endswith(embedded):
                end = at + form.words_bytes
                parts.append(packed(streams.words(body[at:end], b"", form.shape), self._moduli))
                at = end
        return b"".join(parts)

    def _switching_stream(self, data: bytes, places: int, filled: Sequence[int]) -> bytes:
        pairs, embedded, parts = self._pairs(data, len(filled) * _digits(self._parameters)), streams.embedded(self._form), list[Any]()
        for head in self._skeleton(places, filled):
            parts.append(head)
            if head.endswith(embedded):
                parts.append(next(pairs))
        return streams.stream(*parts)

    def _skeleton(self, places: int, filled: Sequence[int]) -> Iterator[bytes]:
        """All of a stream of key-switching keys but the words: each piece but the last is followed by those of a pair."""
        embedded, digits = streams.embedded(self._form), _digits(self._parameters)
        head, before = streams.switching_head(self._form, places), 0
        for place in filled:
            yield head + streams.count(0) * (place - before) + streams.count(digits) + embedded
            yield from [embedded] * (digits - 1)
            head, before = b"", place + 1
        yield streams.count(0) * (places - before)

    def _pairs(self, data: bytes, number: int) -> Iterator[streams.Words]:
        """The polynomials of each of so many keys, checked."""
        if len(data) != number * public_bytes(self._parameters):
            raise MalformedError(f"{len(data)} bytes, and these keys have {number * public_bytes(self._parameters)}")
        view, step = memoryview(data), public_bytes(self._parameters)
        for at in range(0, len(data), step):
            words = unpacked(view[at : at + step], self._form, self._moduli)
            if not words[1].any(axis=1).all():
                raise MalformedError("this key hides nothing: its second polynomial is zero")
            yield words


def _digits(parameters: Parameters) -> int:
    """Key-switching keys of one kind: one for each modulus but the special one."""
    return len(parameters.modulus_bits) - 1
