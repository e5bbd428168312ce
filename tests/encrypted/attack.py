"""From decrypted numbers to the whole secret key, in two ways: with honest ciphertexts, and with chosen ones.

**Honest ones** (Li, Micciancio, EUROCRYPT 2021). A ciphertext is c_0, c_1 with c_0 + c_1 s = m. The numbers that `decrypt` returns are the
real parts of m's slots, and the real parts belong to the polynomial (m + m') / 2, where m' is m with X -> 1/X. They are exact enough:
rounded, they give m + m' to the last coefficient, its noise included. So one ciphertext gives one linear equation in s and s',

    c_1 s + c_1' s' = (m + m') - (c_0 + c_0')    mod q,

and two give the key, by Cramer's rule at each of the N points of the number-theoretic transform. That it is the key shows without asking
anybody: all of its coefficients are -1, 0 or 1. All that is used is the evaluation context, two ciphertexts and the numbers.

**Chosen ones.** (0, d) decrypts to d s. Added to its own conjugate, which is one of the rotations, it decrypts to real numbers, d times
twice the real part of the slots of s, and (0, i d) to the imaginary part. These are tensors like any others: no check can tell, and noise
that is sized by the error they state does not hide numbers that are as large as they like.
"""

import numpy as np
import zstandard
from numpy.typing import NDArray

from stfed.encrypted import streams
from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.layout import Layout
from stfed.encrypted.seal import dump, load, seal
from stfed.encrypted.tensor import EncryptedTensor

Words = NDArray[np.object_]


def recovered_key(context: EvaluationContext, ciphertexts: tuple[Ciphertext, Ciphertext], numbers: NDArray[np.float64]) -> Words:
    """The secret key modulo q_0 in SEAL's transformed order, if the numbers were exact, and else anything.

    Args:
        context: of parameters for additions alone, so that there is one modulus.
        ciphertexts: two of them.
        numbers: what each of their slots is said to decrypt to: (2, slots).
    """
    modulus = context.moduli[0]
    first, second = (_equation(context, ciphertext, row) for ciphertext, row in zip(ciphertexts, numbers, strict=True))
    determinant = (first[0] * _mirrored(second[0]) - second[0] * _mirrored(first[0])) % modulus
    inverse = np.array([pow(int(number), -1, modulus) if number else 0 for number in determinant], object)
    return (first[1] * _mirrored(second[0]) - second[1] * _mirrored(first[0])) * inverse % modulus


def coefficients(context: EvaluationContext, transformed: Words) -> NDArray[np.float64]:
    """Of a polynomial in transformed order, if they are small: through its slots, which SEAL decodes."""
    return _coefficients(context, _slots(context, transformed))


def _coefficients(context: EvaluationContext, slots: NDArray[np.complex128]) -> NDArray[np.float64]:
    degree = context.parameters.degree
    spectrum = np.zeros(2 * degree, np.complex128)
    root = np.array([pow(3, slot, 2 * degree) for slot in range(degree // 2)])
    spectrum[root] = slots
    spectrum[-root] = spectrum[root].conj()
    return np.fft.fft(spectrum)[:degree].real / degree


def chosen(context: EvaluationContext, factor: float, error: float) -> EncryptedTensor:
    """Two ciphertexts of real numbers: `factor` times twice the real parts, and the imaginary parts, of the key's slots."""
    slots, degree = context.parameters.slots, context.parameters.degree
    form = streams.Form(tuple(context.parms_ids[0]), degree, 1, context.scales[0])
    made = []
    for number in (factor, 1j * factor):
        plaintext, conjugate = seal().Plaintext(), seal().Ciphertext()
        seal().CKKSEncoder(context.seal_context).encode([number] * slots, context.parms_ids[0], context.scales[0], plaintext)
        words = np.zeros(form.shape, np.uint64)
        words[1, 0] = np.frombuffer(raw(plaintext)[-8 * degree :], "<u8")
        ciphertext = load("Ciphertext", context.seal_context, streams.stream(form.head, words))
        seal().Evaluator(context.seal_context).complex_conjugate(ciphertext, context.galois_keys, conjugate)
        made.append(context.arithmetic.add(ciphertext, conjugate))
    return EncryptedTensor(context, Layout((2 * slots,), slots, slots), tuple(made), context.largest(0) * 0.99, error)


def chosen_key(context: EvaluationContext, factor: float, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The coefficients of the secret key from what `chosen` is said to decrypt to."""
    real, imaginary = numbers.reshape(2, -1) / factor / 2
    return _coefficients(context, real - 1j * imaginary)


def opened_with(context: EvaluationContext, key: Words, ciphertext: Ciphertext) -> NDArray[np.float64]:
    """What a ciphertext holds: (slots,)."""
    c_0, c_1 = _words(ciphertext, 2, context)
    return _slots(context, (c_0 + c_1 * key) % context.moduli[0]).real / context.scales[0]


def raw(thing: object) -> bytes:
    """What SEAL writes of an object, behind its header and decompressed."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(dump(thing)[16:])


def _equation(context: EvaluationContext, ciphertext: Ciphertext, numbers: NDArray[np.float64]) -> tuple[Words, Words]:
    """c_1, and the right side."""
    c_0, c_1 = _words(ciphertext, 2, context)
    twice = _words(context.arithmetic.encode(2 * numbers, 0), 1, context)[0]
    return c_1, (twice - c_0 - _mirrored(c_0)) % context.moduli[0]


def _mirrored(transformed: Words) -> Words:
    """With X -> 1/X. The order is by bit-reversed exponents: a root is as far from the start as its inverse from the end."""
    return transformed[::-1]


def _words(thing: object, polynomials: int, context: EvaluationContext) -> Words:
    """The polynomials of a ciphertext or plaintext, which are the end of what SEAL writes of it."""
    size = 8 * polynomials * context.parameters.degree
    return np.frombuffer(raw(thing)[-size:], "<u8").reshape(polynomials, -1).astype(object)


def _slots(context: EvaluationContext, transformed: Words) -> NDArray[np.complex128]:
    """Of a polynomial at scale 1."""
    form = streams.Form(tuple(context.parms_ids[0]), context.parameters.degree, 1)
    plaintext = load("Plaintext", context.seal_context, streams.stream(form.secret_head, transformed.astype("<u8")))
    return np.asarray(seal().CKKSEncoder(context.seal_context).decode_complex(plaintext))
