"""Threshold secret sharing: any t shares give the secret, t - 1 shares say nothing about it, whatever computer looks at them.

Shamir, "How to share a secret" (CACM 1979), over GF(65521), the largest prime field whose elements fit 16 bits. A secret is 16
independent field elements, 255.99 bits, drawn as such, so that a share is exactly 32 bytes; feed the bytes to `kdf.derive` for a key.

Sharing is one matrix product with the Vandermonde matrix of the points, in float64 and exact: a product of two elements is below 2^32,
so a sum of t < 2^21 of them is below 2^53 and nothing is ever rounded. Matrices of a party's size stay on one thread of the linear
algebra library, larger ones gain from more; both are its own choice. The operations on secrets are additions, multiplications, divisions
by a constant and roundings of floats, without branches or lookups that depend on them; only points, which are public, index tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.random import Entropy
from stfed.errors import DecodeError, LocalError

PRIME = 65521
LIMBS = 16
SHARE_BYTES = 2 * LIMBS
# Up to here a sum of products is exact: threshold * 2^32 < 2^53.
THRESHOLD_LIMIT = 1 << 21

_GENERATOR = 17
_ELEMENT = np.dtype("<u2")
_DIFFERENCE_COLUMNS = 1024
_DIFFERENCES = 1 << 20
_FEW_POINTS = 6
"""So many times the threshold, distinct points make the matrix product of `lagrange_at_zero` dearer than looking every difference up."""


def random_secrets(count: int, entropy: Entropy) -> NDArray[np.uint16]:
    """`count` fresh secrets, every limb uniform in GF(65521) by rejection: (count, 16)."""
    return _random_elements(count * LIMBS, entropy).reshape(count, LIMBS)


def share(secrets: NDArray[np.uint16], threshold: int, points: Sequence[int] | NDArray[np.integer], entropy: Entropy) -> NDArray[np.uint16]:
    """Shares each secret among the holders of `points`, with fresh coefficients for every limb.

    Args:
        secrets: (m, 16) field elements.
        threshold: how many shares are needed to reconstruct, 1 to n.
        points: the n holders' x-coordinates, distinct, 1 to 65520.
        entropy: gives the coefficients.

    Returns:
        (m, n, 16): `result[i, j]` is the share of secret i at `points[j]`.

    Raises:
        LocalError: an argument is out of its range.
    """
    _check_elements(secrets, (None, LIMBS))
    xs = _check_points(points, 1)
    if not 1 <= threshold <= len(xs):
        raise LocalError(f"a threshold of {threshold} is not between 1 and the number of shares, {len(xs)}")
    count = len(secrets)
    fresh = _random_elements((threshold - 1) * count * LIMBS, entropy).reshape(threshold - 1, count * LIMBS)
    coefficients = np.concatenate([secrets.reshape(1, count * LIMBS), fresh])
    values = _multiply(_vandermonde(tuple(xs.tolist()), threshold), coefficients)
    return values.reshape(len(xs), count, LIMBS).transpose(1, 0, 2)


def reconstruct(
    points: Sequence[int] | NDArray[np.integer], shares: NDArray[np.uint16], *, threshold: int | None = None
) -> NDArray[np.uint16]:
    """The secrets whose shares these are, by Lagrange interpolation at zero.

    Wrong shares give a wrong secret without any sign of it: check the result against a commitment.

    Args:
        points: (t,) where every secret was shared at the same points, or (m, t) with the points of each.
        shares: (m, t, 16), `shares[i, j]` belongs to point j of secret i. More than the threshold do no harm.
        threshold: fewer shares than this are refused; None if the caller has seen to that.

    Returns:
        (m, 16).

    Raises:
        LocalError: too few shares, points that are zero or twice there, shapes that do not fit.
    """
    xs = _check_points(points, 1 if np.ndim(points) == 1 else 2)
    _check_elements(shares, (None if xs.ndim == 1 else len(xs), xs.shape[-1], LIMBS))
    if xs.shape[-1] < max(1, threshold or 1):
        raise LocalError(f"{xs.shape[-1]} shares are too few, {max(1, threshold or 1)} are needed")
    weights = lagrange_at_zero(xs.reshape(-1, xs.shape[-1]))
    return _multiply(weights[:, None, :], shares)[:, 0, :]


def lagrange_at_zero(points: NDArray[np.integer]) -> NDArray[np.uint16]:
    """The weights w with secret = sum of w[i, j] * share at points[i, j], for many sets of points at once.

    w_j is the product over m != j of x_m / (x_m - x_j). In logarithms that is a sum. Where the sets share most of their points, the sums
    over all of them are one product of their 0/1 membership matrix with the matrix of log(x - y) over the distinct points; where there
    are far more points than in a set, s t^2 lookups are less.

    Args:
        points: (s, t), each row distinct, 1 to 65520.

    Returns:
        (s, t).
    """
    xs = _check_points(points, 2)
    log, exp = _tables()
    logs = log[xs]
    exponents = logs.sum(axis=1, keepdims=True) - logs - _logs_of_differences(xs, log)
    weights: NDArray[np.uint16] = exp[exponents.astype(np.int64) % (PRIME - 1)]
    return weights


def _logs_of_differences(xs: NDArray[np.int64], log: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per set i and point j, the sum of log(x_m - x_j) over all m but j; log(0) is stored as 0, which leaves that one out."""
    distinct, columns = np.unique(xs, return_inverse=True)
    sets, threshold = xs.shape
    if len(distinct) > _FEW_POINTS * threshold:
        sums = np.empty(xs.shape)
        at_once = max(1, _DIFFERENCES // threshold**2)
        for start in range(0, sets, at_once):
            block = xs[start : start + at_once]
            sums[start : start + at_once] = log[(block[:, :, None] - block[:, None, :]) % PRIME].sum(axis=1)
        return sums
    columns = columns.reshape(xs.shape)
    members = np.zeros((sets, len(distinct)))
    np.put_along_axis(members, columns, 1.0, axis=1)
    differences = np.empty_like(members)
    for start in range(0, len(distinct), _DIFFERENCE_COLUMNS):
        block = distinct[start : start + _DIFFERENCE_COLUMNS]
        differences[:, start : start + _DIFFERENCE_COLUMNS] = members @ log[(distinct[:, None] - block[None, :]) % PRIME]
    return np.take_along_axis(differences, columns, axis=1)


def to_bytes(elements: NDArray[np.uint16]) -> bytes:
    """One secret or share as 32 bytes, 16 little-endian limbs."""
    _check_elements(elements, (LIMBS,))
    return elements.astype(_ELEMENT).tobytes()


def rows_to_bytes(elements: NDArray[np.uint16]) -> list[bytes]:
    """`to_bytes` of every row of (m, 16)."""
    _check_elements(elements, (None, LIMBS))
    data = elements.astype(_ELEMENT).tobytes()
    return [data[at : at + SHARE_BYTES] for at in range(0, len(data), SHARE_BYTES)]


def from_bytes(data: bytes) -> NDArray[np.uint16]:
    """The 16 elements that `to_bytes` wrote.

    Raises:
        DecodeError: not 32 bytes, or a limb is 65521 or more.
    """
    elements: NDArray[np.uint16] = rows_from_bytes((data,))[0]
    return elements


def rows_from_bytes(shares: Sequence[bytes]) -> NDArray[np.uint16]:
    """`from_bytes` of every share: (m, 16).

    Raises:
        DecodeError: one of them has not 32 bytes, or a limb is 65521 or more.
    """
    for share in shares:
        if len(share) != SHARE_BYTES:
            raise DecodeError(f"a share has {SHARE_BYTES} bytes, not {len(share)}")
    elements = np.frombuffer(b"".join(shares), _ELEMENT).astype(np.uint16)
    if elements.size and elements.max() >= PRIME:
        raise DecodeError(f"a limb of a share is not below {PRIME}")
    return elements.reshape(-1, LIMBS)


def _random_elements(count: int, entropy: Entropy) -> NDArray[np.uint16]:
    # 15 of 65536 draws are rejected. Eight and one in 1024 more than needed make a second call of entropy rare.
    accepted = np.empty(0, np.uint16)
    while (missing := count - len(accepted)) > 0:
        draws = np.frombuffer(entropy(2 * (missing + missing // 1024 + 8)), _ELEMENT)
        accepted = np.concatenate([accepted, draws[draws < PRIME][:missing]])
    return accepted


def _multiply(left: NDArray[np.generic], right: NDArray[np.uint16], prime: int = PRIME) -> NDArray[np.uint16]:
    """The exact matrix product modulo `prime` of reduced matrices (stacks of them too)."""
    assert left.shape[-1] < THRESHOLD_LIMIT
    product = left.astype(np.float64, copy=False) @ right.astype(np.float64)
    # Exact: the quotient is below 2^37, where doubles lie 2^-16 apart, and misses the next integer by 1/prime > 2^-17 at least, so that
    # rounding does not reach it.
    quotient = np.floor(product / prime)
    quotient *= prime
    product -= quotient
    return product.astype(np.uint16)


# A party shares at the same points in every round; four sets of a thousand points and a threshold of six hundred are 20 MB.
@lru_cache(maxsize=4)
def _vandermonde(points: tuple[int, ...], threshold: int, prime: int = PRIME) -> NDArray[np.float64]:
    """Row j holds the powers 0 to threshold - 1 of point j: (n, t)."""
    xs = np.array(points, np.int64)[:, None]
    powers = np.ones((len(xs), threshold), np.int64)
    known, step = 1, xs  # so many columns are there, and the powers x^known that lead on to as many again
    while known < threshold:
        powers[:, known : 2 * known] = powers[:, : min(known, threshold - known)] * step % prime
        known, step = 2 * known, step * step % prime
    matrix = powers.astype(np.float64)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
    """log, with log[0] = 0 by convention, and exp, to the base of a generator of the multiplicative group."""
    exp = np.ones(1, np.int64)
    while len(exp) < PRIME - 1:
        exp = np.concatenate([exp, exp * pow(_GENERATOR, len(exp), PRIME) % PRIME])
    exp = exp[: PRIME - 1]
    log = np.zeros(PRIME)
    log[exp] = np.arange(PRIME - 1)
    return log, exp.astype(np.uint16)


def _check_points(points: Sequence[int] | NDArray[np.integer], ndim: int) -> NDArray[np.int64]:
    xs = np.asarray(points)
    if xs.ndim != ndim or (xs.size and xs.dtype.kind not in "iu"):
        raise LocalError(f"expected {ndim}-dimensional integer points, got {xs.ndim} dimensions of {xs.dtype}")
    xs = xs.astype(np.int64)
    if xs.size and not 1 <= xs.min() <= xs.max() < PRIME:
        raise LocalError(f"points must be from 1 to {PRIME - 1}: at zero lies the secret itself")
    ordered = np.sort(xs, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise LocalError("points must be distinct: two holders at one point would have the same share")
    return xs


def _check_elements(elements: NDArray[np.uint16], shape: tuple[int | None, ...]) -> None:
    fits = len(elements.shape) == len(shape) and all(want in (None, size) for want, size in zip(shape, elements.shape, strict=True))
    if elements.dtype != np.uint16 or not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise LocalError(f"expected uint16 of shape ({wanted}), got {elements.dtype} of shape {elements.shape}")
    if elements.size and elements.max() >= PRIME:
        raise LocalError(f"field elements must be below {PRIME}")
