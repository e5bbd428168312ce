"""`MetricSchema`: which metrics a party sends and how they fill the plan's metric slots.

Names and list lengths are not secret (they travel in clear and must be the same for all parties of a sum), values are: no message has
one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from stfed.encoding.plan import MAX_METRIC, MAX_METRIC_SLOTS, METRIC_FRACTION_BITS
from stfed.encoding.tensors import MAX_NAME_BYTES, check_name
from stfed.encoding.wide import fixed_point
from stfed.errors import DecodeError, LocalError
from stfed.wire import Reader, Writer

MetricValue: TypeAlias = float | int | Sequence[float] | Sequence[int]
Mean: TypeAlias = float | list[float]


@dataclass(frozen=True, slots=True)
class MetricSchema:
    """The metrics of one reply: (name, length) by name, where the length is None for a number and takes one slot an element for a list.

    Raises:
        LocalError: names not sorted, not unique or over 1 KiB, or more than 65,536 slots.
    """

    entries: tuple[tuple[str, int | None], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.entries]
        for name in names:
            check_name(name, "metric")
        if any(left >= right for left, right in pairwise(names)):
            raise LocalError("metric names must be sorted and different from each other")
        if len(names) > MAX_METRIC_SLOTS or self.slots > MAX_METRIC_SLOTS:
            raise LocalError(f"the metrics have more than {MAX_METRIC_SLOTS} numbers")

    @classmethod
    def of(cls, metrics: Mapping[str, MetricValue]) -> MetricSchema:
        """The schema of these metrics.

        Raises:
            LocalError: a metric that is neither a number nor a list of numbers, by name.
        """
        for name, value in metrics.items():
            check_name(name, "metric")
            if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
                raise LocalError(f"metric {name!r} is a {type(value).__name__}", hint="send an int, a float or a list of them")
        return cls(tuple((name, len(v) if isinstance(v := metrics[name], Sequence) else None) for name in sorted(metrics)))

    @property
    def slots(self) -> int:
        """How many numbers the metrics have together."""
        return sum(1 if length is None else length for _, length in self.entries)

    def units(self, metrics: Mapping[str, MetricValue]) -> Iterator[int]:
        """The values in slot order, in steps of 2^-30.

        Raises:
            LocalError: a value that is no number, not finite or over 2^53, by the metric's name.
        """
        for name, _ in self.entries:
            value = metrics[name]
            for element in value if isinstance(value, Sequence) else (value,):
                units = fixed_point(element, METRIC_FRACTION_BITS, f"metric {name!r}")
                if abs(units) > MAX_METRIC << METRIC_FRACTION_BITS:
                    raise LocalError(f"metric {name!r} is over 2^53 in size", hint="scale it down, or leave it out")
                yield units

    def assemble(self, numbers: Sequence[float]) -> dict[str, Mean]:
        """Named metrics from `slots` numbers in slot order."""
        metrics: dict[str, Mean] = {}
        at = 0
        for name, length in self.entries:
            metrics[name] = numbers[at] if length is None else list(numbers[at : at + length])
            at += 1 if length is None else length
        return metrics

    def encode(self) -> bytes:
        """The schema's one encoding. A length is written plus one, so that zero can stand for a plain number."""
        return Writer().vector(self.entries, lambda w, e: w.text(e[0]).u32(0 if e[1] is None else e[1] + 1)).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> MetricSchema:
        """The schema that `data` is the encoding of.

        Raises:
            DecodeError: not the encoding of a schema.
        """
        reader = Reader(data, "metric schema")
        entries = reader.vector("metrics", _read_entry, max_items=MAX_METRIC_SLOTS, item_min_bytes=8)
        reader.end()
        try:
            return cls(tuple(entries))
        except LocalError as error:
            raise DecodeError(f"metric schema: {error.message}") from None


def _read_entry(reader: Reader) -> tuple[str, int | None]:
    name, length = reader.text("metric name", max_bytes=MAX_NAME_BYTES), reader.u32("metric length")
    return name, length - 1 if length else None
