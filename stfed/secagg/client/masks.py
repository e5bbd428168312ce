"""The keys of a party's masks in one round: in memory only."""

from __future__ import annotations

from dataclasses import dataclass, field

from stfed.crypto.keystream import KEY_BYTES
from stfed.crypto.random import Entropy
from stfed.encoding import EncodingPlan, Update, Vector
from stfed.errors import LocalError
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import Header
from stfed.secagg.payload import masked_payload


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

    def seal(self, update: Update, entropy: Entropy, *, threads: int | None = None) -> bytes:
        """The update encoded, masked and packed: what `apply` and `pack_vector` make of its vector, without the vector.

        Args:
            update: this party's, of the plan.
            entropy: asked once, for the key of the rounding.
            threads: as `masked_payload`.

        Raises:
            LocalError: another plan, or NaN or infinity in a model. Nothing is sent then.
        """
        if update.plan != self.plan:
            raise LocalError("the update is encoded for another plan than the round's")
        return masked_payload(update, self.add, self.subtract, entropy(KEY_BYTES), threads=threads)
