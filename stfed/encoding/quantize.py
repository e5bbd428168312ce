"""The float kernels, one tile at a time: difference, fixed point with stochastic rounding, and back.

Everything is done in double precision in a handful of buffers of 64 Ki elements that stay in the cache and are reused for every tile, so
the only memory that grows with the model is the ring vector itself.

Rounding (the stochastic rounding of Gupta et al., ICML 2015): y goes to floor(y) + 1 with probability y - floor(y), decided by comparing
32 uniform bits with the fraction, and to floor(y) otherwise. The fraction is taken first (to within 2^-53) and nothing is added to y
itself: so the resolution of the dither is 2^-32 of a step in every ring, large values lose none of it, an integer y is never changed, and
|y| <= q gives a result in [-q, q]. The expected error is at most 2^-32 of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

TILE = 1 << 16
"""Elements a tile: 1.3 MiB of scratch, about what a core's second-level cache holds."""

DITHER_BYTES = 4
"""Random bytes a float coordinate takes, in vector order, whatever the tile."""

FillRandom: TypeAlias = Callable[[NDArray[np.uint8]], None]
"""Fills a contiguous buffer with uniform bytes, independent of every earlier call."""


class Tile:
    """The scratch of one encoding or decoding, reused from tile to tile. Not to be shared between threads."""

    def __init__(self) -> None:
        self.values = np.empty(TILE, np.float64)
        self._whole = np.empty(TILE, np.float64)
        self._dither = np.empty(TILE, np.dtype("<u4"))
        self._up = np.empty(TILE, np.bool_)

    def difference(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """`left - right` in double precision, shape (k,), k <= `TILE`: a view of the scratch, valid until the next call."""
        values = self.values[: left.size]
        np.subtract(left, right, out=values, dtype=np.float64)
        return values

    def quantize(self, values: NDArray[np.float64], scale: float, out: NDArray[Any], ring_bits: int, fill_random: FillRandom) -> None:
        """Writes round(values * scale) mod 2^`ring_bits` into `out` and destroys `values`.

        Args:
            values: shape (k,), a view of the scratch; |value * scale| is at most 2^(ring_bits-1) - 1.
            out: shape (k,), the plan's lane dtype.
            fill_random: asked for `DITHER_BYTES` bytes an element.
        """
        size = values.size
        whole, dither, up = self._whole[:size], self._dither[:size], self._up[:size]
        fill_random(dither.view(np.uint8))
        np.multiply(values, scale, out=values)
        np.floor(values, out=whole)
        np.subtract(values, whole, out=values)
        np.multiply(values, 2.0**32, out=values)
        np.less(dither, values, out=up)
        # in the range of the signed lane, so the cast is exact and the view is the residue mod 2^lane
        np.copyto(out.view(_signed(out.dtype)), whole, casting="unsafe")
        np.add(out, up, out=out)
        if ring_bits < 8 * out.itemsize:
            np.bitwise_and(out, out.dtype.type((1 << ring_bits) - 1), out=out)

    def dequantize(self, words: NDArray[Any], scale: float, ring_bits: int) -> NDArray[np.float64]:
        """The centred representatives of `words` mod 2^`ring_bits`, times `scale`: a view of the scratch, valid until the next call."""
        values = self.values[: words.size]
        unused = 8 * words.itemsize - ring_bits
        if unused:
            words = words << words.dtype.type(unused)
        signed = words.view(_signed(words.dtype))
        # the bits above the ring are shifted out by the multiplication, exactly: a power of two
        np.multiply(signed, scale * 2.0**-unused, out=values)
        return values


def widen(flat: NDArray[Any]) -> NDArray[Any]:
    """Floats as NumPy knows them: bfloat16 bit patterns (`uint16`) become float32, everything else is returned as it is."""
    return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32) if flat.dtype == np.uint16 else flat


def narrow(values: NDArray[np.float64], out: NDArray[Any]) -> None:
    """Writes finite `values` in the dtype of `out`, rounding to nearest; `uint16` stands for bfloat16 bit patterns."""
    if out.dtype != np.uint16:
        np.copyto(out, values, casting="unsafe")
        return
    bits = values.astype(np.float32).view(np.uint32)
    # to nearest, ties to even: add half of the last place that stays, less one if that place is even
    out[:] = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)


def _signed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"i{dtype.itemsize}")
