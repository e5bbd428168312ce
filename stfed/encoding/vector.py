"""`Vector`: what a party masks and the coordinator sums, and its form on the wire.

Two parts, each with its own modulus: `ring`, one word of b bits for each float coordinate, and `wide`, the limbs of the exact numbers
(`stfed.encoding.wide`). On the wire the packed ring comes first, then the limbs as 32-bit little-endian words.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.pack import pack_into, packed_bytes, unpack
from stfed.encoding.plan import EncodingPlan
from stfed.encoding.wide import LIMB_BITS, carry
from stfed.errors import DecodeError, LocalError

_WORD = np.dtype("<u4")


@dataclass(slots=True, eq=False)
class Vector:
    """One vector of a plan.

    Attributes:
        ring: shape (u,), the plan's lane dtype, values mod 2^b.
        wide: shape (w,), uint32, limbs of 30 bits.
    """

    ring: NDArray[Any] = field(repr=False)
    wide: NDArray[np.uint32] = field(repr=False)

    @classmethod
    def zeros(cls, plan: EncodingPlan) -> Self:
        """The vector that adds nothing."""
        return cls(np.zeros(plan.vector_length, plan.lane), np.zeros(plan.wide_length, np.uint32))

    def check(self, plan: EncodingPlan) -> None:
        """Raises `LocalError` unless this is a vector of the plan."""
        for part, array, length, dtype in (
            ("ring", self.ring, plan.vector_length, plan.lane),
            ("wide", self.wide, plan.wide_length, np.dtype(np.uint32)),
        ):
            if array.shape != (length,) or array.dtype != dtype:
                raise LocalError(f"the vector's {part} part is {array.dtype}{list(array.shape)}, the plan says {dtype}[{length}]")

    def add(self, other: Vector, plan: EncodingPlan) -> None:
        """Adds another vector in place. The ring part is left unreduced above b bits; `reduce` brings it back."""
        np.add(self.ring, other.ring, out=self.ring)
        self.wide = carry(self.wide.astype(np.int64) + other.wide, plan.wide_groups)

    def reduce(self, plan: EncodingPlan) -> None:
        """Takes the ring part modulo 2^b. Because 2^b divides 2^lane, once at the end is as good as always."""
        if plan.ring_bits < 8 * plan.lane.itemsize:
            np.bitwise_and(self.ring, self.ring.dtype.type((1 << plan.ring_bits) - 1), out=self.ring)


def payload_bytes(plan: EncodingPlan) -> int:
    """The exact length of every packed vector: ceil(u b / 8) + 4 w."""
    return packed_bytes(plan.vector_length, plan.ring_bits) + _WORD.itemsize * plan.wide_length


def pack_vector(vector: Vector, plan: EncodingPlan) -> bytes:
    """The vector on the wire.

    Raises:
        LocalError: not a vector of the plan, or not reduced.
    """
    vector.check(plan)
    if _has_long_limb(vector.wide):
        raise LocalError(f"a limb of the vector has more than {LIMB_BITS} bits", hint="run the carries through first")
    packed = io.BytesIO(bytes(payload_bytes(plan)))  # of its size at once: growing takes several times longer than packing
    pack_into(packed, vector.ring, plan.ring_bits)
    packed.write(np.ascontiguousarray(vector.wide, _WORD).data)
    return packed.getvalue()


def unpack_vector(data: bytes | memoryview, plan: EncodingPlan) -> Vector:
    """The vector of these bytes. Its ring part may share their memory.

    Raises:
        DecodeError: another length (checked before anything is allocated), padding that is not zero, or a limb of more than 30 bits.
    """
    view = memoryview(data).cast("B")
    if len(view) != payload_bytes(plan):
        raise DecodeError(f"the vector has {len(view)} bytes, the plan says {payload_bytes(plan)}")
    cut = packed_bytes(plan.vector_length, plan.ring_bits)
    wide = np.frombuffer(view[cut:], _WORD).astype(np.uint32)
    if _has_long_limb(wide):
        raise DecodeError(f"a limb of the vector has more than {LIMB_BITS} bits")
    return Vector(unpack(view[:cut], plan.vector_length, plan.ring_bits), wide)


def _has_long_limb(wide: NDArray[np.uint32]) -> bool:
    return bool(wide.max(initial=0) >> LIMB_BITS)
