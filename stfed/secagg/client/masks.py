"""The keys of a party's masks in one round: in memory only."""

from __future__ import annotations

from dataclasses import dataclass, field

from stfed.encoding import EncodingPlan, Vector
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import (
    Header,
)


@dataclass(frozen=True, slots=True)
class MaskKeys:
    """The keys of this party's masks in one round. Lives in memory between TRAIN and the masked vector, never in a store."""

    header: Header
    plan: EncodingPlan
    add: tuple[bytes, ...] = field(repr=False)
    subtract: tuple[bytes, ...] = field(repr=False)

    def apply(self, vector: Vector, *, threads: int | None = None) -> None:
        """y = x + PRG(b) + sum of PRG(s_ij) for j > i - sum of PRG(s_ij) for j < i, in place.

        Args:
            vector: x, of the plan.
            threads: as `keystream.accumulate`.
        """
        apply_masks(vector, self.plan, self.add, self.subtract, threads=threads)
