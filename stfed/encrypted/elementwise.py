"""Sums, differences, products and quotients element by element, with numpy's broadcasting; every result's bounds hold.

An operand that is not encrypted costs nothing but its encoding, whatever its shape. Two encrypted ones are aligned first, which can cost
rotations and a multiplication: `stfed.encrypted.aligning`.

Bounds and errors hold for slots without an element, too: what is in them decides as well whether a ciphertext overflows.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

import stfed.encrypted.tensor as tensors  # the module: it imports this one
from stfed.encrypted import moving
from stfed.encrypted.aligning import aligned, full, rows_of
from stfed.encrypted.arithmetic import Plain
from stfed.encrypted.bounds import division_error, factor_error, product_error, product_up, sum_up
from stfed.encrypted.checks import broadcast_shapes, check_left, check_plain, check_room
from stfed.encrypted.layout import Layout
from stfed.encrypted.plain import as_float64, is_plain, same_everywhere
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor

Floats: TypeAlias = NDArray[np.float64]
_NOT_OURS = cast("EncryptedTensor", NotImplemented)


def _is_encrypted(value: object) -> bool:
    return isinstance(value, tensors.EncryptedTensor)


def add(a: Any, b: Any) -> EncryptedTensor:
    """a + b, one of them or both encrypted. NotImplemented for operands of other kinds, here and below, as Python's operators have it."""
    if not _is_encrypted(a):
        a, b = b, a
    if _is_encrypted(b):
        return _sum("add", a, b)
    return _plus(a, as_float64(b)) if is_plain(b) else _NOT_OURS


def subtract(a: Any, b: Any) -> EncryptedTensor:
    """a - b, one of them or both encrypted."""
    if not _is_encrypted(a):
        return _plus(negate(b), as_float64(a)) if is_plain(a) else _NOT_OURS
    if _is_encrypted(b):
        return _sum("sub", a, b)
    return _plus(a, -as_float64(b)) if is_plain(b) else _NOT_OURS


def multiply(a: Any, b: Any) -> EncryptedTensor:
    """a * b, one of them or both encrypted. Takes one multiplication, but for plain factors that are 0, 1 or -1 everywhere."""
    if not _is_encrypted(a):
        a, b = b, a
    if _is_encrypted(b):
        return _product(a, b)
    if not is_plain(b):
        return _NOT_OURS
    factors = as_float64(b)
    return _times(a, factors, float(np.abs(factors).max()))


def divide(a: Any, b: Any) -> EncryptedTensor:
    """a / b, b plain: a product with 1 / b.

    Raises:
        LocalError: b is encrypted, or is zero somewhere.
    """
    if _is_encrypted(b):
        raise LocalError(
            "an encrypted tensor cannot be a divisor: CKKS has sums and products only",
            hint="multiply by an approximate reciprocal: b.polyval(chebyshev(lambda x: 1 / x, low, high, degree).coefficients)",
        )
    if not is_plain(b):
        return _NOT_OURS
    with np.errstate(divide="ignore", over="ignore"):
        factors = 1 / as_float64(b)
    if not np.isfinite(factors).all():
        raise LocalError("division by zero, or by a number so small that its reciprocal is none")
    return _times(a, factors, math.nextafter(float(np.abs(factors).max()), math.inf))


def negate(a: EncryptedTensor) -> EncryptedTensor:
    """-a."""
    return replace(a, ciphertexts=tuple(a.context.each("negate", [(each,) for each in a.ciphertexts])))


# With plain operands


def _target(tensor: EncryptedTensor, shape: tuple[int, ...]) -> Layout:
    """The layout of a tensor after broadcasting to `shape`."""
    return tensor.layout if tensor.shape == shape else Layout.of(shape, tensor.layout.slots)


def addends(tensor: EncryptedTensor, values: Floats) -> list[Plain]:
    """What to add to each of its ciphertexts, so that it stays clean if it is."""
    constant = same_everywhere(values)
    if isinstance(constant, float) and (full(tensor.layout) or not tensor.clean):  # into every slot: encoding is faster so
        return [constant] * tensor.layout.ciphertexts
    return rows_of(tensor.layout, values)


def _plus(tensor: EncryptedTensor, values: Floats) -> EncryptedTensor:
    context, size = tensor.context, float(np.abs(values).max())
    layout = _target(tensor, broadcast_shapes(tensor.shape, values.shape))
    levels = moving.levels(tensor, layout)
    check_left(context, tensor.left, levels, "broadcasting it")
    check_plain(context, tensor.left - levels, size)
    bound = sum_up(tensor.bound, size)
    check_room(context, tensor.left - levels, bound + tensor.error)
    tensor = moving.place(tensor, layout)
    if not size:
        return tensor
    jobs = list(zip(tensor.ciphertexts, addends(tensor, values), strict=True))
    return replace(
        tensor,
        ciphertexts=tuple(context.each("add_plain", jobs)),
        bound=bound,
        error=tensor.error + context.noise.encoding(size, context.scales[tensor.left]),
    )


def _times(tensor: EncryptedTensor, factors: Floats, size: float) -> EncryptedTensor:
    """The product with plain numbers, none larger than `size`."""
    context = tensor.context
    layout = _target(tensor, broadcast_shapes(tensor.shape, factors.shape))
    constant = same_everywhere(factors)
    levels, own = moving.levels(tensor, layout), int(constant not in (0.0, 1.0, -1.0) if isinstance(constant, float) else 1)
    check_left(context, tensor.left, levels + own, "a product" if not levels else "a product that broadcasts")
    left = tensor.left - levels - own
    bound = product_up(tensor.bound, size)
    check_room(context, left, bound + size * tensor.error)
    if isinstance(constant, float):
        # Before broadcasting, which makes more ciphertexts of it.
        return moving.place(_multiple(tensor, constant, bound), layout)
    check_plain(context, left + 1, size)
    tensor = moving.place(tensor, layout)
    jobs = list(zip(tensor.ciphertexts, rows_of(layout, factors), strict=True))
    # Slots without an element are multiplied by 0, so that the result is clean whatever was in them.
    return replace(
        tensor,
        ciphertexts=tuple(context.each("multiply_plain", jobs)),
        bound=bound,
        error=factor_error(tensor, left, size, constant=False) + division_error(context, left, relinearised=False),
        clean=True,
    )


def _multiple(tensor: EncryptedTensor, factor: float, bound: float) -> EncryptedTensor:
    context, left = tensor.context, tensor.left - 1
    if factor == 0:
        zeros = context.each("zero", [(tensor.left,)] * len(tensor.ciphertexts))
        return replace(tensor, ciphertexts=tuple(zeros), bound=0.0, error=context.noise.fresh(0.0, context.scales[tensor.left]), clean=True)
    if abs(factor) == 1:
        return tensor if factor == 1 else negate(tensor)
    check_plain(context, tensor.left, abs(factor))
    ciphertexts = context.each("multiply_plain", [(each, factor) for each in tensor.ciphertexts])
    error = factor_error(tensor, left, abs(factor), constant=True) + division_error(context, left, relinearised=False)
    return replace(tensor, ciphertexts=tuple(ciphertexts), bound=bound, error=error)


# Of encrypted operands


def _sum(operation: str, a: EncryptedTensor, b: EncryptedTensor) -> EncryptedTensor:
    bound = sum_up(a.bound, b.bound)
    a, b = aligned(a, b, 0, "broadcasting encrypted operands", bound + a.error + b.error)
    ciphertexts = a.context.each(operation, list(zip(a.ciphertexts, b.ciphertexts, strict=True)))
    return replace(a, ciphertexts=tuple(ciphertexts), bound=bound, error=a.error + b.error, clean=a.clean and b.clean)


def _product(a: EncryptedTensor, b: EncryptedTensor) -> EncryptedTensor:
    bound = product_up(a.bound, b.bound)
    a, b = aligned(a, b, 1, "a product of encrypted tensors", bound + product_error(a, b))
    ciphertexts = a.context.each("multiply", list(zip(a.ciphertexts, b.ciphertexts, strict=True)))
    error = product_error(a, b) + division_error(a.context, a.left - 1, relinearised=True)
    # Where one of them has nothing, the product has nothing.
    return replace(a, ciphertexts=tuple(ciphertexts), bound=bound, error=error, clean=a.clean or b.clean)
