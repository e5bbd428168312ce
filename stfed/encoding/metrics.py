"""`MetricSchema`: which metrics a party sends and in which of the plan's slots they lie.

Names are not secret (they travel in clear and must be the same for all parties of a sum), values are: no message has one. A metric is one
number. Lists are refused: how long one is would leave in clear, and that may tell about the data (losses per batch tell the number of
batches).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor

import numpy as np

from stfed.encoding.plan import MAX_METRIC, MAX_METRIC_SLOTS, METRIC_FRACTION_BITS, METRIC_NOISE
from stfed.encoding.quantize import FillRandom
from stfed.encoding.tensors import MAX_NAME_BYTES, check_name
from stfed.encoding.wide import exact
from stfed.errors import DecodeError, LocalError
from stfed.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class MetricSchema:
    """The names of the metrics of one reply, sorted; the i-th lies in slot i.

    Raises:
        LocalError: names not sorted, not unique or over 1 KiB, or more than 65,536.
    """

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            check_name(name, "metric")
        if any(left >= right for left, right in pairwise(self.names)):
            raise LocalError("metric names must be sorted and different from each other")
        if len(self.names) > MAX_METRIC_SLOTS:
            raise LocalError(f"there are more than {MAX_METRIC_SLOTS} metrics")

    @classmethod
    def of(cls, metrics: Mapping[str, object]) -> MetricSchema:
        """The schema of these metrics.

        Raises:
            LocalError: a metric that is not a number, by name.
        """
        for name, value in metrics.items():
            check_name(name, "metric")
            if isinstance(value, list | tuple):
                raise LocalError(
                    f"metric {name!r} is a list: how long it is would leave this party in clear", hint="send one number for each metric"
                )
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise LocalError(f"metric {name!r} is a {type(value).__name__}", hint="send an int or a float")
        return cls(tuple(sorted(metrics)))

    def products(self, metrics: Mapping[str, object], weight: Fraction, fill_random: FillRandom) -> list[int]:
        """weight * (value + `MAX_METRIC`) in slot order, in steps of 2^-70, with noise that is uniform over 2^40 steps.

        The sum is exact, so without noise its last bits would tell about single parties: a metric of the form count / weight is a rounded
        quotient, and weight * quotient - count depends on the weight. The noise covers such residues and is still below 5e-10.

        Raises:
            LocalError: a value that is no number, not finite or over 2^53, by the metric's name.
        """
        noise = np.zeros(len(self.names), np.dtype("<u8"))
        fill_random(noise.view(np.uint8))
        products = []
        for name, drawn in zip(self.names, noise.tolist(), strict=True):
            value = exact(metrics[name], f"metric {name!r}")
            if abs(value) > MAX_METRIC:
                raise LocalError(f"metric {name!r} is over 2^53 in size", hint="scale it down, or leave it out")
            product = floor(weight * (value + MAX_METRIC) * (1 << METRIC_FRACTION_BITS)) + drawn % (2 * METRIC_NOISE) - METRIC_NOISE
            largest = floor(weight * 2 * MAX_METRIC * (1 << METRIC_FRACTION_BITS))
            products.append(min(max(product, 0), largest))
        return products

    def assemble(self, means: Sequence[float]) -> dict[str, float]:
        """Named metrics from numbers in slot order."""
        return dict(zip(self.names, means, strict=True))

    def encode(self) -> bytes:
        """The schema's one encoding."""
        return Writer().vector(self.names, Writer.text).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> MetricSchema:
        """The schema that `data` is the encoding of.

        Raises:
            DecodeError: not the encoding of a schema.
        """
        reader = Reader(data, "metric schema")
        names = reader.vector(
            "metrics", lambda r: r.text("metric name", max_bytes=MAX_NAME_BYTES), max_items=MAX_METRIC_SLOTS, item_min_bytes=4
        )
        reader.end()
        try:
            return cls(tuple(names))
        except LocalError as error:
            raise DecodeError(f"metric schema: {error.message}") from None
