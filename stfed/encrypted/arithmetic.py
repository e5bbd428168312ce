"""Operations on single ciphertexts: SEAL's, at scales that always match.

Every ciphertext with l multiplications left has the same scale S_l, where S_D is the fresh one and S_(l-1) = S_l^2 / q_l: a product of two
that have S_l, divided by q_l, has S_(l-1) exactly, and so has a product with plain numbers that are encoded at S_l. To add ciphertexts of
different levels the higher one is multiplied by 1. To multiply one of scale S_k, of a higher level, by plain numbers, moduli are left out
first, which costs nothing, and the numbers are encoded at scale S_l^2 / S_k. No two scales are ever called close enough (Kim,
Papadimitriou, Polyakov, *Approximate homomorphic encryption with reduced approximation error*, CT-RSA 2022, section 3).

Nothing here checks whether numbers fit, or that multiplications are left: `stfed.encrypted.tensor` does, before it comes here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.seal import seal

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext

Ciphertext: TypeAlias = Any
"""`tenseal.sealapi.Ciphertext`: 2 polynomials over q_0 ... q_l, in NTT form. Never changed once it is somebody's."""
Plain: TypeAlias = NDArray[np.float64] | float
"""float64 (slots,), or one number for all slots."""
Step: TypeAlias = tuple[int, Sequence[tuple[int, int]], Sequence[tuple[int, float]], float]
"""Of a program: multiplications left afterwards, pairs of registers to multiply, registers with their plain factors, a number to add."""


def left_of(ciphertext: Ciphertext) -> int:
    """How many multiplications one after the other it can still take."""
    return int(ciphertext.coeff_modulus_size()) - 1


class Arithmetic:
    """Computes with ciphertexts of one context.

    Args:
        context: parameters and public keys.
    """

    def __init__(self, context: EvaluationContext) -> None:
        self._context = context
        self._encoder = seal().CKKSEncoder(context.seal_context)
        self._evaluator = seal().Evaluator(context.seal_context)
        self._encryptor = seal().Encryptor(context.seal_context, context.public_key)

    def encode(self, values: Plain, left: int, scale: float | None = None) -> Any:
        """A plaintext at the level and scale of a ciphertext with `left` multiplications left, or at a scale of its own."""
        plaintext = seal().Plaintext()
        numbers = values if isinstance(values, float) else np.asarray(values, np.float64).tolist()
        self._encoder.encode(numbers, self._context.parms_ids[left], self._context.scales[left] if scale is None else scale, plaintext)
        return plaintext

    def encrypt(self, values: Plain) -> Ciphertext:
        """A fresh ciphertext under the public key."""
        ciphertext = seal().Ciphertext()
        self._encryptor.encrypt(self.encode(values, self._context.parameters.depth), ciphertext)
        return ciphertext

    def zero(self, left: int, scale: float | None = None) -> Ciphertext:
        """A fresh encryption of zeros with `left` multiplications left, at the canonical scale or another one."""
        ciphertext = seal().Ciphertext()
        self._encryptor.encrypt_zero(self._context.parms_ids[left], ciphertext)
        ciphertext.scale = self._context.scales[left] if scale is None else scale
        return ciphertext

    def _encrypted(self, operation: Any, *operands: Any, into: Ciphertext | None = None) -> Ciphertext:
        """The result of an operation of SEAL's, which refuses those that anybody could read, with c_1 = 0: x - x, x - (x + 1), 0 * x.

        Their c_0 is the right result, and no secret: the operands differ by plain numbers. A fresh encryption of zero is added to it. The
        same after divisions: 2 x - x - x, each product divided apart, has a c_1 of roundings alone, and times 0.1 that rounds to zero.
        """
        result = seal().Ciphertext() if into is None else into
        try:
            operation(*operands, result)
        except RuntimeError as error:
            if "transparent" not in str(error):
                raise
            fresh = self.zero(left_of(result), result.scale)
            self._evaluator.add_inplace(fresh, result)
            return fresh
        return result

    def add(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        """a + b, of one level."""
        return self._encrypted(self._evaluator.add, a, b)

    def sub(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        """a - b, of one level."""
        return self._encrypted(self._evaluator.sub, a, b)

    def negate(self, a: Ciphertext) -> Ciphertext:
        """-a."""
        result = seal().Ciphertext()
        self._evaluator.negate(a, result)
        return result

    def total(self, ciphertexts: Iterable[Ciphertext]) -> Ciphertext:
        """The sum of one or more, of one level."""
        first, *others = ciphertexts
        for other in others:
            first = self.add(first, other)
        return first

    def add_plain(self, a: Ciphertext, values: Plain) -> Ciphertext:
        """a + values."""
        result = seal().Ciphertext()
        self._evaluator.add_plain(a, self.encode(values, left_of(a)), result)
        return result

    def multiply(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        """a * b, of one level; takes one."""
        return self.products([(a, b)])

    def multiply_plain(self, a: Ciphertext, values: Plain) -> Ciphertext:
        """a * values; takes one level."""
        return self.combine([(a, values)])

    def products(self, pairs: Sequence[tuple[Ciphertext, Ciphertext]]) -> Ciphertext:
        """The sum of a * b over pairs, all of one level; takes one. Relinearised and divided once."""
        result = self._added(self._encrypted(self._evaluator.multiply, a, b) for a, b in pairs)
        self._evaluator.relinearize_inplace(result, self._context.relin_keys)
        return self._divided(result)

    def combine(self, pairs: Sequence[tuple[Ciphertext, Plain]], left: int | None = None) -> Ciphertext:
        """The sum of a * values over pairs. Divided once.

        Args:
            pairs: ciphertexts of any level above that of the result, and what to multiply them with.
            left: how many multiplications the result has left; by default one less than the ciphertext that has the fewest.
        """
        left = min(left_of(a) for a, _ in pairs) - 1 if left is None else left
        terms = [(a, values) for a, values in pairs if np.any(values)]
        return self._divided(self._added(self._scaled(a, values, left) for a, values in terms)) if terms else self.zero(left)

    def _scaled(self, a: Ciphertext, values: Plain, left: int) -> Ciphertext:
        """a * values, one level above `left` and not divided yet, at the scale from which the division leads to the canonical one."""
        context = self._context
        factor = self.encode(values, left + 1, context.factor_scale(left_of(a), left))
        result = self._encrypted(self._evaluator.multiply_plain, self._switched(a, left + 1), factor)
        result.scale = context.scales[left + 1] ** 2  # what it is but for rounding, and the same for all that are added
        return result

    def _added(self, terms: Iterable[Ciphertext]) -> Ciphertext:
        """The sum, in place in the first of them."""
        terms = iter(terms)
        result = next(terms)
        for term in terms:
            result = self._encrypted(self._evaluator.add, term, result, into=result)
        return result

    def _divided(self, result: Ciphertext) -> Ciphertext:
        result = self._encrypted(self._evaluator.rescale_to_next_inplace, into=result)
        result.scale = self._context.scales[left_of(result)]
        return result

    def evaluate(self, x: Ciphertext, steps: Sequence[Step], constant: Plain) -> Ciphertext:
        """Runs a program: register 0 is x, each step makes the next one from those before it, and `constant` is added to the last one.

        A step adds up products and multiples, and so it is relinearised once and divided once.
        """
        registers = [x]
        for left, pairs, multiples, number in steps:
            parts = []
            if pairs:
                ready = {at: self.drop(registers[at], left + 1) for pair in pairs for at in pair}
                parts.append(self._added(self._encrypted(self._evaluator.multiply, ready[a], ready[b]) for a, b in pairs))
                self._evaluator.relinearize_inplace(parts[0], self._context.relin_keys)
            parts += [self._scaled(registers[at], factor, left) for at, factor in multiples]
            result = self._divided(self._added(parts))
            registers.append(self.add_plain(result, number) if number else result)
        return self.add_plain(registers[-1], constant) if np.any(constant) else registers[-1]

    def rotate(self, a: Ciphertext, steps: int) -> Ciphertext:
        """Slot i of the result is slot i + steps of a, round and round. One key switch for each digit of `steps` in signed binary."""
        result = seal().Ciphertext()
        self._evaluator.rotate_vector(a, steps, self._context.galois_keys, result)
        return result

    def folded(self, a: Ciphertext, distances: Sequence[int]) -> Ciphertext:
        """a plus a rotated by the first distance, that plus itself rotated by the next one, and so on: 2^n terms for n rotations."""
        for distance in distances:
            a = self.add(a, self.rotate(a, distance))
        return a

    def drop(self, a: Ciphertext, left: int, values: Plain = 1.0) -> Ciphertext:
        """The same numbers with fewer multiplications left; or times `values`, which costs no level then."""
        return a if left_of(a) == left else self.combine([(a, values)], left)

    def lowered(self, a: Ciphertext, bound: float) -> Ciphertext:
        """The same numbers at the same scale, with no more moduli than numbers up to `bound` need: for decryption alone."""
        left, room = 0, 2 * bound * a.scale
        while left < left_of(a) and math.prod(self._context.moduli[: left + 1]) < room:
            left += 1
        return self._switched(a, left)

    def _switched(self, a: Ciphertext, left: int) -> Ciphertext:
        if left_of(a) == left:
            return a
        result = self._encrypted(lambda into: self._evaluator.mod_switch_to(a, self._context.parms_ids[left], into))
        return self._switched(result, left)  # SEAL stops on the way down where what is left of c_1 is zero
