"""The float kernels, one tile at a time: fixed point with stochastic rounding, and back.

Everything is done in double precision in a handful of buffers of 128 Ki elements that are reused for every tile, so nothing here grows with
the model.

Rounding (the stochastic rounding of Gupta et al., ICML 2015): y goes to floor(y + u), where u is uniform over the multiples of 2^-32 in
[0, 1): to floor(y) + 1 with probability y - floor(y), and to floor(y) otherwise. This is done in integers, on y in steps of 2^-32 (cut
towards zero): so the resolution of the dither is 2^-32 of a step in every ring, large values lose none of it, an integer y is never
changed, and |y| <= q gives a result in [-q, q]. The expected error is at most 2^-32 of a step. In a ring of over 32 bits y and 32 bits
behind the point do not fit one 64-bit integer; there floor(y) is taken off first (what is left is right to within 2^-53) and added again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.rotation import BLOCK

TILE = 1 << 17
"""Elements a tile: 2.5 MiB of scratch. Smaller ones would fit a core's second-level cache, but two threads that call NumPy more often
wait for each other more than that saves. The last tile of a vector may have 255 elements more."""

DITHER_BYTES = 4
"""Random bytes a float coordinate takes, in vector order, whatever the tile."""

FillRandom: TypeAlias = Callable[[NDArray[np.uint8]], None]
"""Fills a contiguous buffer with uniform bytes, independent of every earlier call."""

_FRACTION_BITS = 8 * DITHER_BYTES
_IN_ONE_INTEGER = 64 - _FRACTION_BITS


class Tile:
    """The scratch of one encoding or decoding, reused from tile to tile. Not to be shared between threads.

    Args:
        length: of the vector; a short one needs less scratch.
    """

    def __init__(self, length: int = TILE + BLOCK - 1) -> None:
        room = min(TILE + BLOCK - 1, length)
        self.values: NDArray[np.float64] = np.empty(room, np.float64)
        self._fixed = np.empty(room, np.int64)
        self._dither = np.empty(room, np.dtype("<u4"))

    def subtract(self, left: NDArray[Any], right: NDArray[Any], place: slice) -> None:
        """Writes `left - right`, floats as `flat` gives them, into `values[place]`, in double precision.

        Both are converted first, each in one pass from end to end: that is what memory is fastest at.
        """
        values, other = self.values[place], self._fixed.view(np.float64)[place]
        np.copyto(values, widen(left))
        np.copyto(other, widen(right))
        np.subtract(values, other, out=values)

    def quantize(self, values: NDArray[np.float64], scale: float, out: NDArray[Any], ring_bits: int, fill_random: FillRandom) -> None:
        """Writes round(values * scale) modulo 2^(bits of a lane) into `out`; above b bits it is left unreduced. Destroys `values`.

        Few passes, and those long: each is one call, in which NumPy converts what it reads and writes in the first-level cache.

        Args:
            values: shape (k,), no more than a tile; |value * scale| is at most 2^(ring_bits-1) - 1.
            out: shape (k,), the plan's lane dtype.
            fill_random: asked once, for `DITHER_BYTES` bytes an element.
        """
        fixed, dither = self._fixed[: values.size], self._dither[: values.size]
        fill_random(dither.view(np.uint8))
        if ring_bits <= _IN_ONE_INTEGER:
            np.multiply(values, scale * 2.0**_FRACTION_BITS, out=fixed, casting="unsafe")
            np.add(fixed, dither, out=fixed)
            np.right_shift(fixed, _FRACTION_BITS, out=out, casting="unsafe")
            return
        np.multiply(values, scale, out=values)
        whole = np.floor(values)
        np.subtract(values, whole, out=values)
        np.multiply(values, 2.0**_FRACTION_BITS, out=fixed, casting="unsafe")
        np.add(fixed, dither, out=fixed)
        np.right_shift(fixed, _FRACTION_BITS, out=fixed)
        np.add(fixed, whole.astype(np.int64), out=out.view(np.int64))

    def dequantize(self, words: NDArray[Any], scale: float, ring_bits: int) -> NDArray[np.float64]:
        """The centred representatives of `words` mod 2^`ring_bits`, times `scale`: a view of `values`, valid until the next call."""
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
