"""How wrong a decrypted number can be: bounds that hold for every slot but with a chance below 2^-80 a ciphertext.

CKKS is approximate: what is decrypted is the message and a noise that each operation adds to. The noise of a ciphertext is a polynomial
whose N coefficients have a variance v that the operations determine; a slot is a sum of N of them times roots of unity, so that it is
nearly a complex normal number of variance N v, and |slot| > c sqrt(N v) has the chance exp(-c^2) (the canonical-embedding heuristic of
Gentry, Halevi, Smart, CRYPTO 2012, and Costache, Curtis, Hales, Murphy, Ogilvie, Player, *On the precision loss in approximate homomorphic
encryption*, SAC 2023, with their variances). Independence of coefficients is a heuristic, as it is there: tests and
`benchmarks/encrypted.py` compare the bound with what is measured.

The larger part of most noise is a *product* of polynomials, of something random and the secret key, so a slot is a product of two complex
normal numbers. It is normal only for one key and slot: over all of them |slot| > c sqrt(N v) has the chance 2 c K_1(2 c), K_1 the modified
Bessel function, which is near exp(-2 c). A tail of 8.5 deviations, which would do for one normal number, is exceeded once in 4 million
slots, or once in 1000 ciphertexts.

Secrets are ternary, uniform: a coefficient's variance is 2/3. Errors are SEAL's, of standard deviation 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stfed.encrypted.parameters import Parameters

_TAIL = 8.5
"""c: exp(-8.5^2) = 2^-104 a slot, 2^-90 for all of 2^14."""
_PRODUCT_TAIL = 37.5
"""Likewise for a product of two: 2 c K_1(2 c) = 2^-104."""
_SIGMA = 3.2
_FLOAT = 2.0**-44
"""Relative error of SEAL's floating-point transforms: 2^-53 grows by at most a bit or so for each of log2 N <= 15 layers."""


@dataclass(frozen=True)
class NoiseModel:
    """The noise that operations add, in units of the numbers themselves.

    Args:
        parameters: the set.
        moduli: q_0 ... q_D and the special modulus, as integers.
    """

    parameters: Parameters
    moduli: Sequence[int]

    def _slots(self, variance: float, scale: float, tail: float = _TAIL) -> float:
        return tail * math.sqrt(self.parameters.degree * variance) / scale

    def encoding(self, bound: float, scale: float) -> float:
        """Of numbers up to `bound` that are rounded to polynomials with integer coefficients: always, whatever the numbers.

        Whoever chooses numbers chooses how they are rounded, and a single small one among zeros is rounded to nothing in all coefficients
        at once. At a root z the N roundings, symmetric as the polynomial is, of at most 1/2 each, add up to at most the sum of
        |cos(k arg z)| / 2, which is N / pi.
        """
        return (self.parameters.degree / math.pi + 1) / scale + bound * _FLOAT

    def constant(self, value: float, scale: float) -> float:
        """Of one number for all slots: a polynomial of degree 0, whose coefficient is rounded to an integer."""
        return 0.5 / scale + abs(value) * 2.0**-52

    def fresh(self, bound: float, scale: float) -> float:
        """Of a new ciphertext under the public key. SEAL makes it with the special modulus on top, and divides that away."""
        degree, special = self.parameters.degree, float(self.moduli[-1])
        errors = self._slots(_SIGMA**2 * (1 + 4 * degree / 3) / special**2, scale, 2 * _PRODUCT_TAIL)  # two products and one more
        return errors + self.rescaling(scale) + self.encoding(bound, scale)

    def rescaling(self, scale: float) -> float:
        """Of a division by the last modulus, after which the scale is `scale`: the rounding of c_0, and of c_1 times the secret."""
        return self._slots(1 / 12, scale) + self._slots(self.parameters.degree / 18, scale, _PRODUCT_TAIL)

    def switching(self, left: int, scale: float, together: int = 1) -> float:
        """Of a rotation or relinearisation of a ciphertext with `left` multiplications left: for a sum of `together` of its slots.

        SEAL takes the digits of c_1, its residues mod q_i, as numbers from 0 to q_i - 1, not around zero. Their common mean q_i / 2 is the
        polynomial q_i / 2 (1 + X + ... + X^(N-1)), which at the root next to 1 is q_i N / pi: that slot gets this many times the error of
        the key, and its noise is by far the largest. The rest of the digits is uniform, of variance q_i^2 / 12.

        At the k-th root from there, k odd, the mean is 1 / (2 sin(pi k / 2N)), at most N / pi (1 / k + 0.58 k / N^2), so that a sum of
        slots has about the logarithm of their number of it, not their number: sum 1 / k <= 1 + ln(2 n - 1) / 2, sum 0.58 k / N^2 <= 0.15.
        """
        degree, special = self.parameters.degree, float(self.moduli[-1])
        digits = sum(float(modulus) ** 2 for modulus in self.moduli[: left + 1]) / special**2
        error = _SIGMA * math.sqrt(degree)  # of the key, in a slot
        mean = _TAIL * error * degree / math.pi * math.sqrt(digits) / scale
        means = mean * (1.15 + math.log(2 * together - 1) / 2) if together > 1 else mean
        return means + together * (self._slots(degree * _SIGMA**2 * digits / 12, scale, _PRODUCT_TAIL) + self.rescaling(scale))

    def decoding(self, bound: float) -> float:
        """Of the transform to floating-point numbers."""
        return bound * _FLOAT
