"""Putting masks on and taking them off: the same few lines on both sides.

y_i = x_i + PRG(b_i) + sum of PRG(s_ij) over neighbours j > i - sum of PRG(s_ij) over neighbours j < i (Bonawitz et al., CCS 2017,
section 4). The ring part is added mod 2^lane, where a lane is the machine word that holds b bits; because 2^b divides 2^lane, reducing at
the end gives the same as computing mod 2^b throughout. The wide part is added number by number, each in its own Z/2^(30 limbs) with the
carries run through, so that a masked number is uniform as a whole and the sum of many tells nothing but their sum.

One keystream serves both parts: the ring part takes it from the start, the wide part from the first segment behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stfed.crypto import keystream
from stfed.crypto.keystream import SEGMENT_BYTES
from stfed.encoding import EncodingPlan, Vector
from stfed.encoding.wide import LIMB_MASK, carry

_WORD = np.dtype("<u4")


def apply_masks(vector: Vector, plan: EncodingPlan, add: Sequence[bytes], subtract: Sequence[bytes], *, threads: int | None = None) -> None:
    """Adds and subtracts the keystreams of these keys, in place, and reduces.

    Args:
        vector: of this plan.
        plan: the encoding plan.
        add: 32-byte keystream keys.
        subtract: likewise.
        threads: as `keystream.accumulate`.
    """
    vector.check(plan)
    keystream.accumulate(vector.ring, add, subtract, threads=threads)
    vector.reduce(plan)
    size_bytes = _WORD.itemsize * plan.wide_length
    if not size_bytes:
        return
    offset = -(-vector.ring.nbytes // SEGMENT_BYTES) * SEGMENT_BYTES
    sums = vector.wide.astype(np.int64)
    for keys, combine in ((add, np.add), (subtract, np.subtract)):
        for key in keys:
            limbs = np.frombuffer(keystream.keystream(key, offset, size_bytes), _WORD) & np.uint32(LIMB_MASK)
            combine(sums, limbs, out=sums)
    vector.wide = carry(sums, plan.wide_groups)
