"""Putting masks on and taking them off: the same few lines on both sides.

y_i = x_i + PRG(b_i) + sum of PRG(s_ij) over neighbours j > i - sum of PRG(s_ij) over neighbours j < i, in Z/2^b (Bonawitz et al., CCS
2017, section 4). Masks are added mod 2^lane, where a lane is the machine word that holds b bits; because 2^b divides 2^lane, reducing at
the end gives the same as computing mod 2^b throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.crypto import keystream
from stfed.encoding import EncodingPlan
from stfed.errors import LocalError


def apply_masks(
    vector: NDArray[Any], plan: EncodingPlan, add: Sequence[bytes], subtract: Sequence[bytes], *, threads: int | None = None
) -> None:
    """Adds and subtracts the keystreams of these keys, in place, and reduces mod 2^b.

    Args:
        vector: one-dimensional, of the plan's length and lane type.
        plan: the encoding plan.
        add: 32-byte keystream keys.
        subtract: likewise.
        threads: as `keystream.accumulate`.
    """
    if vector.shape != (plan.vector_length,) or vector.dtype != plan.lane:
        raise LocalError(f"the vector is {vector.dtype}{list(vector.shape)}, the plan says {plan.lane}[{plan.vector_length}]")
    keystream.accumulate(vector, add, subtract, threads=threads)
    if plan.ring_bits < 8 * plan.lane.itemsize:
        np.bitwise_and(vector, vector.dtype.type((1 << plan.ring_bits) - 1), out=vector)
