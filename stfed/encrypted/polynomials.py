"""Powers and polynomials of every element, in the fewest multiplications one after the other.

A polynomial of degree d takes ceil(log2(d + 1)) levels, coefficients included, which is the least there is. It is evaluated by baby steps
and giant steps (Paterson, Stockmeyer, *On the number of nonscalar multiplications necessary to evaluate polynomials*, SIAM J. Comput.
1973), split at powers of two from the top, so that whatever is multiplied last has the fewest levels behind it (Bossuat, Mouchet,
Troncoso-Pastoriza, Hubaux, *Efficient bootstrapping for approximate homomorphic encryption with non-sparse keys*, EUROCRYPT 2021,
section 5). About 2 sqrt(d) + log2 d products of ciphertexts; products that are added up are relinearised and divided together.

Instead of powers of x it adds up Dickson polynomials D_n of parameter a, wherever the result is more exact then: D_0 = 2, D_1 = x,

    D_(m+n) = D_m D_n - a^n D_(m-n),

which for a = 0 are the powers, and for a = (B/2)^2 are 2 (B/2)^n T_n(x / B) with Chebyshev's T_n. On [-B, B] powers reach B^n with
coefficients of both signs, which add up to much less: their errors don't. The D_n reach 2 (B/2)^n alone. So numbers up to 2 are what is
evaluated best: scale them before, `Fit.scaled`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stfed.encrypted import elementwise
from stfed.encrypted.checks import check_left, check_plain, check_room
from stfed.encrypted.fits import Fit
from stfed.encrypted.plain import as_float64
from stfed.encrypted.programs import Floats, Program
from stfed.errors import LocalError, shown

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor

_GRID = 4096


def power(tensor: EncryptedTensor, exponent: int) -> EncryptedTensor:
    """tensor ** exponent by squaring and multiplying; takes ceil(log2(exponent)) multiplications one after the other.

    Raises:
        LocalError: no integer of 1 or more, or a power that needs more multiplications than are left.
    """
    try:
        number = 0 if isinstance(exponent, bool) else operator.index(exponent)
    except TypeError:
        number = 0
    if number < 1:
        raise LocalError(f"the power {shown(exponent)} of an encrypted tensor", hint="an integer of 1 or more; others by polyval of a fit")
    depth = (number - 1).bit_length()
    check_left(tensor.context, tensor.left, depth, f"a power of {number}")
    if number == 1:
        return tensor
    program = Program(tensor)
    program.term(number)
    return _run(tensor, program, program.traces[-1].bound, 0.0)


def polyval(tensor: EncryptedTensor, coefficients: Sequence[float] | Fit) -> EncryptedTensor:
    """c_0 + c_1 x + c_2 x^2 + ... of each element x; takes ceil(log2(degree + 1)) multiplications one after the other.

    Args:
        tensor: the x.
        coefficients: from c_0 on, as `numpy.polynomial` has them, and `numpy.polyval` has not; or a fit, which is refused for numbers that
            may lie outside of its interval.

    Returns:
        A tensor whose error is measured from this polynomial: to compare with the function of a fit, add `Fit.error`.

    Raises:
        LocalError: no coefficients, too few multiplications left, numbers outside of the fit's interval, or numbers that get too large.
    """
    if isinstance(coefficients, Fit):
        coefficients.check(tensor.bound)
        coefficients = coefficients.coefficients
    given = as_float64(coefficients, "the list of coefficients")
    if given.ndim != 1:
        raise LocalError(f"coefficients of shape {given.shape}", hint="a list of numbers: c_0, c_1, c_2 ...")
    numbers = np.trim_zeros(given, "b")
    degree = max(0, len(numbers) - 1)
    if degree == 0:
        return elementwise.add(elementwise.multiply(tensor, 0.0), given[0])
    depth = degree.bit_length()
    check_left(tensor.context, tensor.left, depth, f"a polynomial of degree {degree}")
    program = _best(tensor, numbers, depth)
    return _run(tensor, program, _largest(numbers, tensor.bound), float(numbers[0]))


def _best(tensor: EncryptedTensor, numbers: Floats, depth: int) -> Program:
    """Of either family of polynomials the cheapest program, tried out for all numbers of baby steps, and of the two the more exact one."""
    best: list[Program] = []
    mantissa, exponent = math.frexp(tensor.bound or 1.0)  # exact, which log2 is not just above a power of two
    reach = 2.0 ** (exponent - (mantissa == 0.5))
    for parameter in (0.0, reach):
        try:
            programs = [Program(tensor, parameter, 1 << bits) for bits in range(depth)]
            for program in programs:
                program.evaluate(numbers, tensor.left - depth)
        except LocalError:  # intermediate results get too large
            if parameter and not best:
                raise
        else:
            best.append(min(programs, key=lambda each: each.cost))
    return min(best, key=lambda each: each.traces[-1].error)


def _largest(numbers: Floats, bound: float) -> float:
    """No |p(x)| with |x| <= bound is above this: the largest on a grid, and what p can rise from there to halfway to the next point."""
    polynomial = np.polynomial.Polynomial(numbers)
    slope = np.polynomial.Polynomial(np.abs(polynomial.deriv().coef))(bound)
    terms = np.polynomial.Polynomial(np.abs(numbers))(bound)
    largest = np.abs(polynomial(np.linspace(-bound, bound, _GRID + 1))).max() + slope * bound / _GRID
    return float(min(largest, terms) + terms * len(numbers) * 2.0**-50)


def _run(tensor: EncryptedTensor, program: Program, bound: float, at_zero: float) -> EncryptedTensor:
    """Computes it. In slots without an element x is 0 if the tensor is clean, and what p(0) is there must come to 0."""
    context, last, constant = tensor.context, program.traces[-1], program.constant
    added = max(abs(constant), abs(constant - at_zero))
    error = last.error + (context.noise.encoding(added, context.scales[last.left]) if added else 0.0)
    check_plain(context, last.left, added)
    check_room(context, last.left, max(bound + error, last.bound + last.error))
    steps = tuple(program.steps)
    rows = elementwise.addends(tensor, np.asarray(at_zero))
    jobs = [(each, steps, row + (constant - at_zero)) for each, row in zip(tensor.ciphertexts, rows, strict=True)]
    return replace(tensor, ciphertexts=tuple(context.each("evaluate", jobs)), bound=bound, error=error)
