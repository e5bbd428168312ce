"""Arrays in memory as the plain safetensors file that is to be sealed, put together a segment at a time: no tensor is copied as a whole."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stfed.sealed import inner

Array = npt.NDArray[Any]


class Gathered:
    """A header and arrays, one after the other, as `stfed.sealed.stream.Source`. The arrays are contiguous and not empty."""

    def __init__(self, header: bytes, arrays: list[Array]) -> None:
        self._parts = [np.frombuffer(header, np.uint8), *arrays]
        self._starts = list(itertools.accumulate((part.nbytes for part in self._parts), initial=0))

    @property
    def size_bytes(self) -> int:
        """Length of header and arrays together."""
        return self._starts[-1]

    def piece(self, start: int, stop: int, scratch: memoryview) -> memoryview:
        """A view where one array holds the whole range, a copy where several do: thousands of small ones are joined in one call."""
        first = bisect.bisect_right(self._starts, start) - 1
        last = bisect.bisect_left(self._starts, stop, first + 1) - 1
        head, tail = start - self._starts[first], stop - self._starts[last]
        if first == last:
            return _octets(self._parts[first])[head : head + stop - start].data
        between: list[Any] = self._parts[first + 1 : last]
        return memoryview(b"".join((_octets(self._parts[first])[head:].data, *between, _octets(self._parts[last])[:tail].data)))


def gathered(specs: Mapping[str, inner.Spec], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None) -> Gathered:
    """The plain safetensors file of `arrays`, each contiguous, little-endian and as long as its entry in `specs` says."""
    header, order = inner.build(specs, metadata)
    return Gathered(header, [arrays[name] for name in order if specs[name].size_bytes])


def _octets(array: Array) -> npt.NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)
