"""A ciphertext as its numbers and nothing else: our own canonical encoding, independent of SEAL's streams and their compression.

A ciphertext with l multiplications left is two polynomials c_0, c_1 modulo q_0 ... q_l, each N numbers in the order of SEAL's transform.
Here they are, modulus by modulus, c_0 before c_1, packed at the length of q_i in bits (`stfed.encrypted.bits`): 60 and 40 take 100 bits,
not the 128 that they have in memory. The level is said beside it; the scale follows from the level, so nobody can state another one.

Decoding refuses, before the native library sees a byte: any other length; a number that is not below its modulus; and a second polynomial
that is zero modulo any q_i, which would make the "ciphertext", or what is left of it at a lower level, the message in clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stfed.encrypted import bits, streams
from stfed.encrypted.arithmetic import Ciphertext, left_of
from stfed.encrypted.seal import load
from stfed.encrypted.streams import Form, Words
from stfed.errors import MalformedError

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext
    from stfed.encrypted.parameters import Parameters


def ciphertext_bytes(parameters: Parameters, left: int) -> int:
    """How long the words of a ciphertext with `left` multiplications left are."""
    return 2 * parameters.degree * sum(parameters.modulus_bits[: left + 1]) // 8


def encode(context: EvaluationContext, ciphertext: Ciphertext) -> bytes:
    """The words of a ciphertext.

    Raises:
        MalformedError: it is none of this context at its canonical scale.
    """
    form = _form(context, left_of(ciphertext))
    body = streams.body(ciphertext, len(form.head) + form.words_bytes)
    return packed(streams.words(body, form.head, form.shape), context.moduli)


def decode(context: EvaluationContext, left: int, data: bytes | memoryview) -> Ciphertext:
    """The inverse.

    Args:
        context: whose ciphertext it is said to be.
        left: how many multiplications are left.
        data: what `encode` wrote, from whomever.

    Raises:
        MalformedError: it is no ciphertext of these parameters, or one that hides nothing.
    """
    if not 0 <= left <= context.parameters.depth:
        raise MalformedError(f"a ciphertext with {left} multiplications left, of parameters that have {context.parameters.depth}")
    form = _form(context, left)
    words = unpacked(data, form, context.moduli)
    if not words[1].any(axis=1).all():
        raise MalformedError("this ciphertext hides nothing: its second polynomial is zero", hint="do not use what its sender sends")
    return load("Ciphertext", context.seal_context, streams.stream(form.head, words))


def packed(words: Words, moduli: Sequence[int]) -> bytes:
    """Polynomials modulo each modulus, packed; uint64 (polynomials, moduli, N)."""
    return b"".join(bits.pack(np.ascontiguousarray(words[:, at]), moduli[at].bit_length()) for at in range(words.shape[1]))


def unpacked(data: bytes | memoryview, form: Form, moduli: Sequence[int]) -> Words:
    """The inverse, checked.

    Raises:
        MalformedError: another length, or a number that is not below its modulus.
    """
    lengths = [2 * form.degree * modulus.bit_length() // 8 for modulus in moduli[: form.moduli]]
    if len(data) != sum(lengths):
        raise MalformedError(f"{len(data)} bytes, and two polynomials of degree {form.degree} at this level have {sum(lengths)}")
    words = np.empty(form.shape, np.uint64)
    view, start = memoryview(data), 0
    for at, length in enumerate(lengths):
        part = bits.unpack(view[start : start + length], moduli[at].bit_length())
        if part.max() >= moduli[at]:
            raise MalformedError(f"a coefficient is not below its modulus, the {at + 1}. one")
        words[:, at] = part.reshape(2, form.degree)
        start += length
    return words


def _form(context: EvaluationContext, left: int) -> Form:
    return Form(tuple(context.parms_ids[left]), context.parameters.degree, left + 1, context.scales[left])
