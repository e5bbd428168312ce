"""Noise from which the noise of a ciphertext cannot be told, added where both are integers: inside the ring, before anything is decoded.

A ciphertext (c_0, c_1) decrypts to the polynomial c_0 + c_1 s = m + e of integers modulo q: the message as it was encoded, and the noise
that depends on the secret key s. `flooded` adds a polynomial u to c_0 whose coefficients are independent and uniform on 2^k consecutive
integers, k = `Scale.noise_bits`. Moved by e_i, such an integer has the statistical distance |e_i| / 2^k from itself. No rounding comes
into it, because what comes out, m + e + u modulo q, is exact. Whatever is done with that afterwards, SEAL's decoding to floating-point
numbers before all else, is a function of it alone, and no function makes a distance larger. (Noise that is added to decoded numbers has to
hide their roundings as well, which the sign of e decides wherever a coefficient lies halfway between two doubles.)

How integers of more bits than a double has get into the ring, through an encoder that takes nothing but numbers in slots: in digits of at
most 32 bits. The slots of a polynomial with such coefficients, computed in doubles, and the inverse transform of the encoder give the
coefficients back but for an error d. Two transforms of N numbers x have ||d||_2 <= 14 log2(N) 2^-53 ||x||_2 (Higham, *Accuracy and
Stability of Numerical Algorithms*, 2002, theorem 24.2, generously): less than 2^-6 up to N = 2^15. So the encoder, which rounds to
integers, makes it 0. Digits are put together in the ring, by Horner's rule.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.random import Entropy
from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.seal import seal
from stfed.flower.ckks.scale import Scale

_DIGIT_BITS = 32
_DIGIT = np.dtype("<u4")


def widths(bits: int) -> list[int]:
    """How many bits each digit has, the highest first: as equal as can be, so that none has a mean that counts."""
    count = -(-bits // _DIGIT_BITS)
    return [bits // count + (at < bits % count) for at in range(count)]


def digits(scale: Scale, entropy: Entropy) -> NDArray[np.int64]:
    """Digits of u, highest first: int64 (digits, N); one of w bits is uniform from -2^(w-1) to 2^(w-1) - 1."""
    wide, degree = widths(scale.noise_bits), scale.context.parameters.degree
    drawn = np.frombuffer(entropy(_DIGIT.itemsize * len(wide) * degree), _DIGIT).astype(np.int64).reshape(len(wide), degree)
    bases = np.array([1 << width for width in wide])[:, None]
    return np.asarray(drawn % bases - bases // 2)


def flooded(scale: Scale, ciphertext: Ciphertext, entropy: Entropy) -> Ciphertext:
    """A ciphertext of m + e + u, where `ciphertext` is one of m + e. For decryption at once: it shows u to whoever has both.

    SEAL computes with nothing that anybody could read, so u grows on top of the ciphertext itself: (m + e) base + u, of which
    (m + e) base is taken away again.
    """
    library, parms_id = seal(), scale.context.parms_ids[scale.left]
    encoder, evaluator = library.CKKSEncoder(scale.context.seal_context), library.Evaluator(scale.context.seal_context)
    twist, places = _transform(scale.context.parameters.degree)

    def times(factor: float) -> Any:
        plaintext = library.Plaintext()
        encoder.encode(factor, parms_id, 1.0, plaintext)
        return plaintext

    wide, result, multiple = widths(scale.noise_bits), library.Ciphertext(), library.Ciphertext()
    for at, digit in enumerate(digits(scale, entropy)):
        plaintext = library.Plaintext()
        encoder.encode(np.fft.ifft(digit * twist, norm="forward")[places].tolist(), parms_id, 1.0, plaintext)
        plaintext.scale = ciphertext.scale
        if at:
            evaluator.multiply_plain_inplace(result, times(2.0 ** wide[at]))
            evaluator.add_plain_inplace(result, plaintext)
        else:
            evaluator.add_plain(ciphertext, plaintext, result)
    evaluator.multiply_plain(ciphertext, times(2.0 ** sum(wide[1:])), multiple)
    evaluator.add_inplace(result, ciphertext)
    evaluator.sub_inplace(result, multiple)
    return result


@lru_cache(maxsize=1)
def _transform(degree: int) -> tuple[NDArray[np.complex128], NDArray[np.int64]]:
    """Powers of a root of X^N + 1, which make the values at its odd powers a discrete Fourier transform; and which of those are slots."""
    places = [(pow(3, at, 2 * degree) - 1) // 2 for at in range(degree // 2)]
    return np.exp(1j * np.pi * np.arange(degree) / degree), np.array(places)
