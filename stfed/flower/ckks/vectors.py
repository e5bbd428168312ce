"""Numbers to ciphertexts and back, and sums of ciphertexts: bytes in, bytes out.

Two numbers share a slot, as its real and its imaginary part: sums need no more of complex numbers than that they add up, and half of the
ciphertexts do. What comes from others is read by `stfed.encrypted.words`, which refuses everything that is no ciphertext before the
native library sees a byte of it.

Numbers that are no part of the model (`Scale.scalars`) are a few digits each, for exactness: x = a_1 + step (a_2 + step a_3), of which a_1
and a_2 are multiples of the step, and |a_2|, |a_3| <= 1/2. Digits add up as numbers do, and sums of multiples are read to the nearest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.random import Entropy, system_entropy
from stfed.encrypted import words
from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.context import SecretContext
from stfed.encrypted.seal import seal
from stfed.errors import DecodeError, LocalError
from stfed.flower.ckks.flooding import flooded
from stfed.flower.ckks.scale import DIGITS, Scale

Numbers = NDArray[np.float64]


def size_bytes(scale: Scale) -> int:
    """How long a vector of this scale is."""
    return scale.ciphertexts * words.ciphertext_bytes(scale.context.parameters, scale.left)


def encrypt(scale: Scale, numbers: Numbers) -> bytes:
    """Numbers from [-1, 1], encrypted under the context's public key with randomness of the operating system.

    Raises:
        LocalError: another count of numbers, or one that is out of bounds or not finite.
    """
    if numbers.shape != (scale.numbers,) or not np.abs(numbers).max(initial=0) <= 1:
        raise LocalError(f"{numbers.shape} numbers to encrypt, or numbers out of bounds, where {scale.numbers} from -1 to 1 are due")
    context, library = scale.context, seal()
    degree, slots = context.parameters.degree, context.parameters.slots
    encoder, encryptor = library.CKKSEncoder(context.seal_context), library.Encryptor(context.seal_context, context.public_key)
    rows = np.zeros((scale.ciphertexts, degree))
    rows.reshape(-1)[: scale.places] = _spread(scale, numbers)
    parts = []
    for row in rows:
        plaintext, ciphertext = library.Plaintext(), library.Ciphertext()
        encoder.encode((row[:slots] + 1j * row[slots:]).tolist(), context.parms_ids[scale.left], scale.scale, plaintext)
        encryptor.encrypt(plaintext, ciphertext)
        parts.append(_encoded(scale, ciphertext))
    return b"".join(parts)


class Total:
    """A running sum of encrypted vectors: as much memory as one of them, however many there are.

    Attributes:
        scale: of all of them.
        count: how many.
        ciphertexts: of the sum.
    """

    def __init__(self, scale: Scale) -> None:
        self.scale: Scale = scale
        self.count: int = 0
        self.ciphertexts: list[Ciphertext] = []

    def add(self, data: bytes) -> None:
        """One more vector.

        Raises:
            DecodeError: it is no vector of this scale; the sum is what it was.
        """
        ciphertexts = _decoded(self.scale, data)
        arithmetic = self.scale.context.arithmetic
        if self.count:
            ciphertexts = [arithmetic.add(one, other) for one, other in zip(self.ciphertexts, ciphertexts, strict=True)]
        self.ciphertexts, self.count = ciphertexts, self.count + 1

    def encode(self) -> bytes:
        """The sum as a vector."""
        return b"".join(_encoded(self.scale, ciphertext) for ciphertext in self.ciphertexts)


def decrypt(secret: SecretContext, total: Total, entropy: Entropy = system_entropy) -> Numbers:
    """The numbers of a sum with the noise of `stfed.flower.ckks.flooding`: what may be told to who has the sum."""
    scale = total.scale
    found = np.array([secret.slots(flooded(scale, ciphertext, entropy)) for ciphertext in total.ciphertexts])
    return _gathered(scale, np.concatenate((found.real, found.imag), axis=1).reshape(-1)[: scale.places])


def _spread(scale: Scale, numbers: Numbers) -> Numbers:
    """Numbers with the digits of those at the end."""
    model, rest = np.split(numbers, [scale.numbers - scale.scalars])
    parts = [model]
    for _ in range(DIGITS - 1):
        parts.append(np.rint(rest / scale.step) * scale.step)
        rest = (rest - parts[-1]) / scale.step
    return np.concatenate((*parts, rest))


def _gathered(scale: Scale, places: Numbers) -> Numbers:
    """The inverse, of a sum."""
    model, digits = np.split(places, [scale.numbers - scale.scalars])
    *higher, scalars = digits.reshape(DIGITS, scale.scalars)
    for digit in reversed(higher):
        scalars = np.rint(digit / scale.step) * scale.step + scale.step * scalars
    return np.concatenate((model, scalars))


def _encoded(scale: Scale, ciphertext: Ciphertext) -> bytes:
    """The scale is not in the words; `stfed.encrypted` takes it from the level, and here it follows from the number of parties."""
    ciphertext.scale = scale.context.scales[scale.left]
    try:
        return words.encode(scale.context, ciphertext)
    finally:
        ciphertext.scale = scale.scale


def _decoded(scale: Scale, data: bytes) -> list[Ciphertext]:
    if len(data) != size_bytes(scale):
        raise DecodeError(f"an encrypted vector of {len(data)} bytes, {size_bytes(scale)} are due")
    step, view = words.ciphertext_bytes(scale.context.parameters, scale.left), memoryview(data)
    ciphertexts = [words.decode(scale.context, scale.left, view[at : at + step]) for at in range(0, len(data), step)]
    for ciphertext in ciphertexts:
        ciphertext.scale = scale.scale
    return ciphertexts
