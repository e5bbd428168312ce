"""Putting masks on and taking them off: the same few lines on both sides.

y_i = x_i + PRG(b_i) + sum of PRG(s_ij) over neighbours j > i - sum of PRG(s_ij) over neighbours j < i (Bonawitz et al., CCS 2017,
section 4). The ring part is added mod 2^lane, where a lane is the machine word that holds b bits; because 2^b divides 2^lane, reducing at
the end gives the same as computing mod 2^b throughout. The wide part is added number by number, each in its own Z/2^(30 limbs) with the
carries run through, so that a masked number is uniform as a whole and the sum of many tells nothing but their sum.

One keystream serves both parts: the ring part takes it from the start, the wide part from the first segment behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stfed.crypto import keystream
from stfed.crypto.keystream import SEGMENT_BYTES, Words
from stfed.encoding import EncodingPlan, Vector
from stfed.encoding.wide import LIMB_MASK, carry

_WORD = np.dtype("<u4")
_SEGMENT_WORDS = SEGMENT_BYTES // _WORD.itemsize

Accumulate = Callable[[Words, Sequence[bytes], Sequence[bytes]], None]
"""`accumulate(words, add, subtract)`: words += streams of `add` - streams of `subtract`, in place, modulo 2^(bits of a word), every stream
from its start. `keystream.accumulate` is one; others may do it elsewhere (other processes, a GPU), bit by bit the same."""


def apply_masks(
    vector: Vector,
    plan: EncodingPlan,
    add: Sequence[bytes],
    subtract: Sequence[bytes],
    *,
    threads: int | None = None,
    accumulate: Accumulate | None = None,
) -> None:
    """Adds and subtracts the keystreams of these keys, in place, and reduces.

    Args:
        vector: of this plan.
        plan: the encoding plan.
        add: 32-byte keystream keys.
        subtract: likewise.
        threads: as `keystream.accumulate`.
        accumulate: does the ring part, in place of `keystream.accumulate`; the wide part is short and always done here.
    """
    vector.check(plan)
    if accumulate is None:
        keystream.accumulate(vector.ring, add, subtract, threads=threads)
    else:
        accumulate(vector.ring, add, subtract)
    vector.reduce(plan)
    vector.wide = masked_limbs(vector.wide, plan, add, subtract)


def masked_limbs(wide: NDArray[np.uint32], plan: EncodingPlan, add: Sequence[bytes], subtract: Sequence[bytes]) -> NDArray[np.uint32]:
    """The wide part of a vector with the keystreams of these keys added and subtracted, number by number."""
    sums = wide.astype(np.int64)
    first_segment = -(-plan.vector_length * plan.lane.itemsize // SEGMENT_BYTES)
    _accumulate_limbs(sums, add, np.add, first_segment)
    _accumulate_limbs(sums, subtract, np.subtract, first_segment)
    return carry(sums, plan.wide_groups)


def _accumulate_limbs(sums: NDArray[np.int64], keys: Sequence[bytes], combine: np.ufunc, first_segment: int) -> None:
    """Adds to, or subtracts from, the limb sums 30 bits of every 32 of the keys' streams; no more than a segment's size at once."""
    for start in range(0, sums.size, _SEGMENT_WORDS):
        tile = sums[start : start + _SEGMENT_WORDS]
        at_once = _SEGMENT_WORDS // tile.size
        for at in range(0, len(keys), at_once):
            segment = first_segment + start // _SEGMENT_WORDS
            stream = keystream.beginnings(keys[at : at + at_once], _WORD.itemsize * tile.size, segment=segment)
            limbs = stream.view(_WORD) & np.uint32(LIMB_MASK)
            combine(tile, limbs.sum(axis=0, dtype=np.int64), out=tile)
