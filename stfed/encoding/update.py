"""`Update`: what one party sends, checked, to be encoded a stretch of coordinates at a time.

A party sends w * (trained - received) / W, where `received` is the model that all parties got, w its weight and W the plan's
`max_weight`; its weight and w * metric travel in the same vector. Float tensors are, as one line of numbers, rotated if the plan says so,
clipped and stochastically rounded (`quantize`); everything else is exact (`wide`, `integers`). With noise in the plan (`noise`) the float
tensors are cut to an L2 norm first, get noise last (`noising`), and nothing else about the party is in the vector.

What a party may not send, such as a changed shape or a list of metrics, is refused when the update is made, and NaN and infinity when the
stretch is encoded that has them: before anything leaves. The messages name the tensor and never a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding.arrays import Array, flat
from stfed.encoding.checks import refuse_non_finite, refuse_other_arrays
from stfed.encoding.clip import clip, within
from stfed.encoding.coordinates import Coordinates
from stfed.encoding.integers import encode_integers
from stfed.encoding.metrics import MetricSchema
from stfed.encoding.noising import Noising
from stfed.encoding.plan import WEIGHT_FRACTION_BITS, EncodingPlan
from stfed.encoding.quantize import TILE, FillRandom, Tile, widen
from stfed.encoding.rotation import tiles
from stfed.encoding.tensors import TensorSpec
from stfed.errors import LocalError


class Update:
    """One party's update. All of it but the schema is secret. Threads may encode different stretches of it at the same time.

    Args:
        plan: agreed by all.
        received: the model that came with the round, the same for all parties. Neither model may change until everything is encoded.
        trained: this party's model.
        weight: this party's weight, an int or a float, see `EncodingPlan.weight_units`.
        metrics: this party's metrics, ints and floats; `plan.weight_key` is left out if it is among them. With noise, only those that
            the plan bounds are sent; the others are left out.
        fill_random: asked for 8 bytes a metric, in slot order.

    Attributes:
        plan: as given.
        schema: which metrics are in it.
        received: as given; only read.
        trained: as given; only read.
        scale: ring units for a delta of 1 at this weight.

    Raises:
        LocalError: anything that the plan does not allow or that has no mean, by name.
    """

    def __init__(
        self,
        plan: EncodingPlan,
        received: Mapping[str, Array],
        trained: Mapping[str, Array],
        weight: object,
        metrics: Mapping[str, object],
        fill_random: FillRandom,
    ) -> None:
        units, saturated = plan.weight_units(weight)
        self._noising = None if plan.noise is None else Noising(plan, metrics)
        metrics = {} if plan.noise else {name: value for name, value in metrics.items() if name != plan.weight_key}
        self.plan: EncodingPlan = plan
        self.received: Mapping[str, Array] = received
        self.trained: Mapping[str, Array] = trained
        self.schema: MetricSchema = MetricSchema.of(metrics)
        self.scale: float = plan.weighted_scale(units)
        if len(self.schema.names) > plan.metric_slots:
            raise LocalError(
                f"there are {len(self.schema.names)} metrics, the plan has room for {plan.metric_slots}",
                hint="raise metric_slots or send fewer metrics",
            )
        refuse_other_arrays(plan, received, "received")
        refuse_other_arrays(plan, trained, "trained")
        self._units, self._saturated = units, saturated
        self._products = self.schema.products(metrics, Fraction(units, 1 << WEIGHT_FRACTION_BITS), fill_random)
        self._coordinates = Coordinates(plan)

    def __repr__(self) -> str:
        return f"Update({len(self.plan.tensors)} tensors, {self.plan.vector_length} coordinates)"

    @cached_property
    def floats(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """(received, trained) by ring tensor, as flat memory of the host: views of contiguous arrays, copies of anything else.

        Raises:
            LocalError: with noise in the plan, NaN or infinity in the received model, which no change has a norm from.
        """
        floats = {spec.name: self._flat(spec) for spec in self.plan.tensors if spec.is_float}
        return floats if self._noising is None else {**floats, **self._noising.measure(floats)}

    def begin(self) -> None:
        """All stretches are about to be encoded, from the first to the last."""
        if self._noising is not None:
            self._noising.begin()

    def accepted(self) -> bool:
        """Whether what all stretches became may be sent. If not, which is rare and needs noise, they have to be encoded again."""
        return self._noising is None or self._noising.accepted()

    def encode(self, start: int, out: NDArray[Any], tile: Tile, fill_random: FillRandom, noise: FillRandom) -> int:
        """Writes the ring words of the coordinates from `start` on, not reduced above b bits.

        Args:
            start: a multiple of `TILE`.
            out: shape (k,), the plan's lane dtype: one of `rotation.tiles(plan.vector_length, TILE)`.
            tile: scratch of the calling thread.
            fill_random: asked once, for 4 bytes a coordinate.
            noise: asked for what a stretch of Skellam numbers takes, which depends on them; not asked without noise in the plan.

        Returns:
            How many of the coordinates were clipped.

        Raises:
            LocalError: NaN or infinity in a model, by tensor.
        """
        values, clipped = tile.values[: out.size], 0
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf and overflowing differences are found below
            for spec, part, place in self._coordinates.pieces(start, start + out.size):
                before, after = self.floats[spec.name]
                tile.subtract(after[part], before[part], place)
                if self._noising is not None:
                    self._noising.shrink(spec, values[place])
            if self.plan.rotation is not None:
                self.plan.rotation.forward(values, start)
        if not within(values, self.plan.clip):
            self._refuse_non_finite(start, start + out.size)
            # Differences of finite doubles over 2^1019 can overflow to inf - inf in a rotated block. No refusal: it would tell the
            # coordinator, who chooses `received`, how large the trained numbers are.
            np.nan_to_num(values, copy=False, nan=math.inf, posinf=math.inf, neginf=-math.inf)
            clipped = clip(values, self.plan.clip)
        tile.quantize(values, self.scale, out, self.plan.ring_bits, fill_random)
        if self._noising is None:
            return clipped
        self._noising.add(out, noise)
        return 0  # how many were clipped is a number about the data that has no noise

    def wide(self, clipped: int) -> NDArray[np.uint32]:
        """The wide part of the vector.

        Args:
            clipped: how many float coordinates were, over all stretches.
        """
        plan, layout = self.plan, self.plan.layout()
        wide = np.zeros(plan.wide_length, np.uint32)
        wide[layout.weight] = plan.weight_format.split(self._units)
        wide[layout.saturated] = plan.saturated_format.split(int(self._saturated))
        slots = wide[layout.metrics].reshape(plan.metric_format.limbs, plan.metric_slots)
        for slot, product in enumerate(self._products):
            slots[:, slot] = plan.metric_format.split(product)
        for spec, place in zip(plan.tensors, layout.tensors, strict=True):
            if spec.is_float:
                continue
            (before, after), number = self._flat(spec), plan.integer_format(spec.dtype)
            after = after if plan.noise is None else before  # whatever they count, it is about the data, and no noise is on it
            limbs = wide[place].reshape(number.limbs, spec.size)
            for part in tiles(spec.size, TILE):
                clipped += encode_integers(spec, number, before[part], after[part], self._units, limbs[:, part])
        wide[layout.clipped] = plan.clipped_format.split(clipped)
        return wide

    def _flat(self, spec: TensorSpec) -> tuple[NDArray[Any], NDArray[Any]]:
        return flat(self.received[spec.name]), flat(self.trained[spec.name])

    def _refuse_non_finite(self, start: int, stop: int) -> None:
        for spec, part, _ in self._coordinates.pieces(start, stop):
            before, after = self.floats[spec.name]
            refuse_non_finite(spec.name, "trained", widen(after[part]))
            refuse_non_finite(spec.name, "received", widen(before[part]))
