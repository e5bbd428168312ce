"""The ring part of a payload, made where the trained tensors are: only packed, masked bytes come to the host.

The bytes are those of `stfed.secagg.payload` for the same keys, except that a plan with a rotation may round other coordinates up (see
`stfed.encoding.device`). Chosen when the trained model is on a GPU that keystreams can run on; nobody else can tell and nobody has to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stfed.crypto import device as keystreams
from stfed.crypto.keystream import SEGMENT_BYTES
from stfed.encoding import Update, packed_bytes
from stfed.encoding.device import STRETCH, DeviceEncoder, device_of, pack
from stfed.encoding.quantize import DITHER_BYTES
from stfed.encoding.rotation import tiles

if TYPE_CHECKING:
    import torch


def device_for(update: Update) -> torch.device | None:
    """The GPU to make this update's payload on; None for the host."""
    device = None if update.plan.noise is not None else device_of(update)  # Skellam numbers are drawn on the host
    if device is None or not keystreams.available(device):
        return None
    return device if all(keystreams.works(device, size) for size in {DITHER_BYTES, update.plan.lane.itemsize}) else None


def write_ring(
    update: Update, add: Sequence[bytes], subtract: Sequence[bytes], dither_key: bytes, out: NDArray[np.uint8], device: torch.device
) -> int:
    """Fills the packed ring part and returns how many coordinates were clipped.

    Args:
        update: the party's.
        add: 32-byte keystream keys.
        subtract: likewise.
        dither_key: see `masked_payload`.
        out: shape (`packed_bytes(u, b)`,).
        device: where to compute.

    Raises:
        LocalError: NaN or infinity in a model, by tensor.
    """
    import torch

    plan, encoder, clipped = update.plan, DeviceEncoder(update, device), 0
    with (
        keystreams.DeviceStreams(add, subtract, device=device) as masks,
        keystreams.DeviceStreams([dither_key], device=device) as dither,
    ):
        # A stretch begins with a segment of both streams, and with a byte of the packed vector.
        for place in tiles(plan.vector_length, STRETCH):
            uniform = torch.zeros(place.stop - place.start, dtype=torch.int32, device=device)
            dither.accumulate(uniform, first_segment=place.start * DITHER_BYTES // SEGMENT_BYTES)
            words, cut = encoder.encode(place.start, uniform)
            masks.accumulate(words, first_segment=place.start * plan.lane.itemsize // SEGMENT_BYTES)
            packed = pack(words, plan.ring_bits)
            first = packed_bytes(place.start, plan.ring_bits)
            torch.from_numpy(out[first : first + packed.numel()]).copy_(packed)
            clipped += cut
    return clipped
