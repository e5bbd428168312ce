"""Matrix products, as numpy's `@`: encrypted with plain, plain with encrypted, and, at small sizes, encrypted with encrypted.

How: a plain factor mixes columns or rows (`stfed.encrypted.mixing`), and two encrypted ones are a sum of outer products
(`stfed.encrypted.outer`), which is slow, and refused above a limit with its cost.

With a plain matrix a product takes one multiplication, with another encrypted one two, and one more where a result of one axis has to be
turned into the slots: each error says so. A result lies as it comes out: it is often not `clean`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

import stfed.encrypted.tensor as tensors  # the module: it imports this one
from stfed.encrypted import elementwise
from stfed.encrypted.checks import check_keys, check_plain
from stfed.encrypted.mixing import from_left, from_right
from stfed.encrypted.outer import least, outer
from stfed.encrypted.plain import as_float64, is_plain
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor

_NOT_OURS = cast("EncryptedTensor", NotImplemented)


def dot(a: Any, b: Any) -> EncryptedTensor:
    """As `numpy.dot`: of single numbers their product, else the matrix product."""
    if not _axes(a) or not _axes(b):
        return elementwise.multiply(a, b)
    return matmul(a, b)


def matmul(a: Any, b: Any) -> EncryptedTensor:
    """As `numpy.matmul` for one and two axes; one of them or both encrypted.

    Raises:
        LocalError: shapes that do not fit, different keys, not enough multiplications left, numbers that would not fit, no Galois keys, or
            too costly.
    """
    encrypted = [isinstance(each, tensors.EncryptedTensor) for each in (a, b)]
    if not all(own or is_plain(each) for own, each in zip(encrypted, (a, b), strict=True)):
        return _NOT_OURS
    a, b = (each if own else as_float64(each, "a plain matrix") for own, each in zip(encrypted, (a, b), strict=True))
    what = f"the matrix product of shapes {a.shape} and {b.shape}"
    if not all(0 < len(each.shape) < 3 for each in (a, b)):
        raise LocalError(f"{what}: both must have one axis or two", hint="use * for single numbers, and reshape what has more axes")
    if a.shape[-1] != b.shape[0]:
        raise LocalError(f"{what}: the last axis of the first, {a.shape[-1]}, must be as long as the first of the second, {b.shape[0]}")
    if all(encrypted):
        a, b = check_keys(a, b)
        instead = "decrypt one of them, or multiply smaller parts"
        least(a, b).check(what, instead)
        return outer(a, b).go(what, instead)
    one, plain = (a, b) if encrypted[0] else (b, a)
    way = from_right(one, plain) if encrypted[0] and one.ndim == 2 else from_left(plain.T if encrypted[0] else plain, one)
    if one.left:
        check_plain(one.context, one.left, float(np.abs(plain).max()))
    return way.go(what, "multiply by fewer columns at a time")


def _axes(value: Any) -> int:
    return value.ndim if isinstance(value, tensors.EncryptedTensor) else np.ndim(as_float64(value)) if is_plain(value) else 1
