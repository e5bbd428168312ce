"""CKKS parameters: what is secure, how many multiplications there are, and how exact they are.

A parameter set below 128 bits of security, by the tables of the homomorphic encryption standard (Albrecht et al., *Homomorphic Encryption
Standard*, HomomorphicEncryption.org, November 2018, table 1: classical attacks, ternary secrets), cannot even be made.

The chain of moduli is q_0 ... q_D and a special one P for key switching, all primes of the stated sizes. A fresh ciphertext has all of
q_0 ... q_D; each multiplication divides by the last one that is left and drops it, so there are D of them: the *depth*. Numbers are held
times a scale near 2^`scale_bits`, and `q_0` is what is left for them at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from stfed.errors import LocalError, shown

SECURE_BITS = {4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""The most bits that all moduli together may have, by the degree of the polynomials."""
_MODULUS_BITS_MIN, _MODULUS_BITS_MAX = 20, 60  # SEAL's primes
_HEADROOM_BITS = 20
"""Of the first modulus over the scale in `for_depth`: decrypted numbers may be as large as 2^19."""


@dataclass(frozen=True)
class Parameters:
    """One set of CKKS parameters.

    Attributes:
        degree: N, the degree of the polynomials, a power of two; a ciphertext holds N / 2 numbers.
        modulus_bits: the sizes of q_0, q_1 ... q_D, and of the special modulus at the end.
        scale_bits: a number x is held as the integer nearest to 2^scale_bits x.

    Raises:
        LocalError: on being made, if they are not secure, or fit to nothing.
    """

    degree: int = 8192
    modulus_bits: tuple[int, ...] = (60, 40, 40, 60)
    scale_bits: int = 40

    def __post_init__(self) -> None:
        if self.degree not in SECURE_BITS:
            degrees = ", ".join(map(str, SECURE_BITS))
            raise LocalError(f"polynomials of degree {shown(self.degree)} are not supported", hint=f"one of {degrees}")
        if len(self.modulus_bits) < 2:
            raise LocalError("a chain of moduli has two or more: one for numbers, and the special one", hint="modulus_bits=(54, 54)")
        for bits in self.modulus_bits:
            if type(bits) is not int or not _MODULUS_BITS_MIN <= bits <= _MODULUS_BITS_MAX:
                raise LocalError(f"a modulus of {shown(bits)} bits", hint=f"{_MODULUS_BITS_MIN} to {_MODULUS_BITS_MAX} bits each")
        total, most = sum(self.modulus_bits), SECURE_BITS[self.degree]
        if total > most:
            raise LocalError(
                f"moduli of {total} bits with polynomials of degree {self.degree} have less than 128 bits of security",
                hint=f"at most {most} bits, or a larger degree",
            )
        if self.modulus_bits[-1] < max(self.modulus_bits):
            raise LocalError("the special modulus, the last, is smaller than another one: key switching would drown the numbers in noise")
        if type(self.scale_bits) is not int or not _MODULUS_BITS_MIN <= self.scale_bits < self.modulus_bits[0]:
            raise LocalError(
                f"a scale of {shown(self.scale_bits)} bits with a first modulus of {self.modulus_bits[0]}",
                hint=f"from {_MODULUS_BITS_MIN} bits to less than the first modulus has",
            )
        for bits in self.modulus_bits[1:-1]:
            if bits != self.scale_bits:  # S_(l-1) = S_l^2 / q_l: one bit off is two bits off after the next, 2^l bits in the end
                raise LocalError(
                    f"a middle modulus of {bits} bits with a scale of {self.scale_bits}: scales would run away",
                    hint="give the moduli between the first and the last one scale_bits each",
                )

    @classmethod
    def for_depth(cls, depth: int, *, scale_bits: int = 40) -> Self:
        """The smallest secure set with `depth` multiplications one after the other, for numbers up to 2^19 in the end.

        Raises:
            LocalError: there is none.
        """
        if type(depth) is not int or depth < 0:
            raise LocalError(f"a depth of {shown(depth)}", hint="how many multiplications one after the other: 0 or more")
        first = min(_MODULUS_BITS_MAX, scale_bits + _HEADROOM_BITS)
        bits = (54, 54) if (depth, scale_bits) == (0, 40) else (first, *(scale_bits,) * depth, max(first, scale_bits))
        for degree, most in SECURE_BITS.items():
            if sum(bits) <= most:
                return cls(degree, bits, scale_bits)
        raise LocalError(
            f"no secure parameters have {depth} multiplications one after the other with a scale of {scale_bits} bits",
            hint="decrypt in between, or take a smaller scale_bits",
        )

    @property
    def slots(self) -> int:
        """How many numbers a ciphertext holds."""
        return self.degree // 2

    @property
    def depth(self) -> int:
        """How many multiplications one after the other a fresh ciphertext can take."""
        return len(self.modulus_bits) - 2

    def __str__(self) -> str:
        bits = ", ".join(map(str, self.modulus_bits))
        return f"N = {self.degree}, moduli of {bits} bits, scale 2^{self.scale_bits}, depth {self.depth}"
