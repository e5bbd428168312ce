"""Encoding and packing where the tensors are: the steps of `stfed.encoding.update`, `quantize` and `pack` as torch operations.

The bits are those of the host for the same dither: the same double precision operations in the same order, each one an operation of its
own, so that no compiler fuses a product and a sum into one rounding; integers after that. Only where the plan rotates may the last bits
differ, because a matrix product sums in another order; the masks then hide, and the coordinator rotates back, numbers that are just as good
(`rotation.ROUNDING`).

Tensors of integers and bools, the weight and the metrics are exact numbers of many limbs and few; those the host encodes as ever.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from stfed.encoding.arrays import Array, is_torch
from stfed.encoding.coordinates import Coordinates
from stfed.encoding.quantize import DITHER_BYTES
from stfed.encoding.rotation import BLOCK, CHUNK, MATRICES, Rotation, blocks, tiles
from stfed.encoding.update import Update
from stfed.errors import LocalError

if TYPE_CHECKING:
    import torch

STRETCH = 1 << 22
"""Coordinates at a time: enough to fill a large GPU, and some 200 MB of its memory in all."""

_FRACTION_BITS = 8 * DITHER_BYTES
_GROUP = 8


def device_of(update: Update) -> torch.device | None:
    """The GPU that the trained model lives on; None where it lives on the host."""
    for spec in update.plan.tensors:
        value = update.trained[spec.name]
        if spec.is_float and is_torch(value) and value.is_cuda:
            return value.device
    return None


class DeviceEncoder:
    """Encodes one update on one device.

    Args:
        update: the party's.
        device: where to compute; tensors that live elsewhere are copied there stretch by stretch.
    """

    def __init__(self, update: Update, device: torch.device) -> None:
        import torch

        self._update, self._device, self._coordinates = update, device, Coordinates(update.plan)
        self.lane: torch.dtype = {2: torch.int16, 4: torch.int32, 8: torch.int64}[update.plan.lane.itemsize]
        self._rotation = None if update.plan.rotation is None else _DeviceRotation(update.plan.rotation, device)

    def encode(self, start: int, dither: torch.Tensor) -> tuple[torch.Tensor, int]:
        """The ring words of the coordinates from `start` on, not reduced above b bits, and how many of them were clipped.

        Args:
            start: a multiple of 2^14.
            dither: shape (k,), int32: random bits, one word a coordinate; k as `Rotation.forward` asks.

        Returns:
            Integers of the lane's size, whose two's complement is the word.

        Raises:
            LocalError: NaN or infinity in a model, by tensor.
        """
        import torch

        plan, size, clipped = self._update.plan, dither.numel(), 0
        values = torch.empty(size, dtype=torch.float64, device=self._device)
        for spec, part, place in self._coordinates.pieces(start, start + size):
            after, before = (self._part(model[spec.name], part) for model in (self._update.trained, self._update.received))
            torch.sub(after.double(), before.double(), out=values[place])
        if self._rotation is not None:
            self._rotation.forward(values, start)
        # A comparison with NaN is false.
        if size and not bool((values.abs().amax() <= plan.clip).item()):
            self._refuse_non_finite(start, start + size)
            values.nan_to_num_(nan=math.inf, posinf=math.inf, neginf=-math.inf)  # see `Update.encode`
            clipped = int((values.abs() > plan.clip).sum().item())
            values.clamp_(-plan.clip, plan.clip)
        return self._quantize(values, dither), clipped

    def _quantize(self, values: torch.Tensor, dither: torch.Tensor) -> torch.Tensor:
        """`Tile.quantize`, step by step."""
        import torch

        scale, uniform = self._update.scale, dither.to(torch.int64) & ((1 << _FRACTION_BITS) - 1)
        if self._update.plan.ring_bits <= 64 - _FRACTION_BITS:
            fixed = (values * (scale * 2.0**_FRACTION_BITS)).to(torch.int64)
            return ((fixed + uniform) >> _FRACTION_BITS).to(self.lane)
        scaled = values * scale
        whole = scaled.floor()
        fixed = ((scaled - whole) * 2.0**_FRACTION_BITS).to(torch.int64)
        return ((fixed + uniform) >> _FRACTION_BITS) + whole.to(torch.int64)

    def _part(self, value: Array, part: slice) -> torch.Tensor:
        import torch

        if is_torch(value):
            return value.detach().reshape(-1)[part].to(self._device)
        flat = np.asarray(value).reshape(-1)[part]
        return torch.tensor(flat.astype(flat.dtype.newbyteorder("="), copy=False), device=self._device)

    def _refuse_non_finite(self, start: int, stop: int) -> None:
        for spec, part, _ in self._coordinates.pieces(start, stop):
            for whose, model in (("trained", self._update.trained), ("received", self._update.received)):
                if not bool(self._part(model[spec.name], part).isfinite().all().item()):
                    raise LocalError(
                        f"tensor {spec.name!r} of the {whose} model has NaN or infinity", hint="nothing was sent; did the training diverge?"
                    )


def pack(words: torch.Tensor, ring_bits: int) -> torch.Tensor:
    """The words modulo 2^b as `stfed.encoding.pack` lays them out: uint8, shape (ceil(k b / 8),).

    Args:
        words: shape (k,), signed integers of the lane's size.
        ring_bits: b, 8 to 64.
    """
    import torch

    lane_bits, size = 8 * words.element_size(), words.numel()
    if ring_bits == lane_bits and size:  # torch may give an empty tensor strides that have no view
        return words.view(torch.uint8)
    # Eight values are b whole bytes, and with b >= 8 no byte has bits of more than two of them.
    groups = torch.zeros(-(-size // _GROUP) * _GROUP, dtype=torch.int64, device=words.device)
    groups[:size] = words
    columns = (groups & ((1 << ring_bits) - 1)).view(-1, _GROUP)
    packed = torch.empty((columns.shape[0], ring_bits), dtype=torch.uint8, device=words.device)
    for byte in range(ring_bits):
        column, shift = divmod(8 * byte, ring_bits)
        bits = columns[:, column] >> shift
        if shift + 8 > ring_bits:
            bits = bits | columns[:, column + 1] << (ring_bits - shift)
        packed[:, byte] = (bits & 0xFF).to(torch.uint8)
    return packed.view(-1)[: -(-size * ring_bits // 8)]


class _DeviceRotation:
    """`Rotation.forward` on a device: all whole chunks in one product, then the last chunk if it is none."""

    def __init__(self, rotation: Rotation, device: torch.device) -> None:
        import torch

        self._rotation, self._device = rotation, device
        self._matrices = {size: torch.tensor(matrix, device=device) for size, matrix in MATRICES.items()}

    def forward(self, values: torch.Tensor, start: int) -> None:
        """As `Rotation.forward`."""
        first, places = start // CHUNK, tiles(values.numel(), CHUNK)
        whole = sum(place.stop - place.start == CHUNK for place in places)
        if whole:
            part = values[: whole * CHUNK]
            part.mul_(self._signs(range(first, first + whole), CHUNK)[:, :CHUNK].reshape(-1))
            self._hadamard(part.view(whole, BLOCK, -1))
        for place in places[whole:]:
            part = values[place]
            signs = self._signs(range(first + whole, first + whole + 1), part.numel())[0]
            pairs: Any = blocks(part, signs)  # type: ignore[arg-type]  # slices either kind of array
            for block, own in pairs:
                block.mul_(own)
                self._hadamard(block.view(1, min(block.numel(), BLOCK), -1))

    def _signs(self, chunks: range, size: int) -> torch.Tensor:
        import torch

        signs = np.stack([self._rotation.signs(chunk, size).astype(np.int8) for chunk in chunks])
        return torch.from_numpy(signs).to(self._device)

    def _hadamard(self, values: torch.Tensor) -> None:
        """H on each column of each matrix, in place; H_size = H_outer (x) H_inner."""
        import torch

        count, size, _ = values.shape
        inner = min(size, 16)
        outer = size // inner
        half = torch.matmul(self._matrices[outer], values.view(count, outer, -1)).view(count, outer, inner, -1)
        values.copy_(torch.matmul(self._matrices[inner], half).view(values.shape))
