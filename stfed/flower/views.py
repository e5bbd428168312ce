"""Flower's arrays as NumPy arrays without a copy: read-only views of the bytes they came in.

`Array.numpy()` copies the whole array; a party that looks at two models would hold four. The bytes of an `Array` are immutable, so a view
also stays what it was when a function changes or replaces the records.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.lib import format as npy
from numpy.typing import NDArray

from stfed.errors import LocalError
from stfed.flower.device import DeviceArray

if TYPE_CHECKING:
    import torch

_STYPE = "numpy.ndarray"
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def views(record: ArrayRecord) -> dict[str, NDArray[Any] | torch.Tensor]:
    """The arrays of a record, in its order. Those of `device_arrays` are the tensors that they were made of, where these are.

    Raises:
        LocalError: one that is not a NumPy array as Flower writes it, by name.
    """
    return {name: array.tensor if isinstance(array, DeviceArray) else _view(name, array) for name, array in record.items()}


def _view(name: str, array: Array) -> NDArray[Any]:
    """The `.npy` bytes (NumPy enhancement proposal 1) without `np.load`: no pickle, and nothing is allocated that a header asks for."""
    if array.stype != _STYPE:
        raise LocalError(f"array {name!r} is serialised as {array.stype!r}, not as {_STYPE!r}")
    stream = io.BytesIO(array.data)  # shares the bytes
    try:
        version = npy.read_magic(stream)
        shape, by_columns, dtype = _READERS[version](stream)
        if dtype.hasobject:
            raise ValueError("it has Python objects in it")
        size = int(np.prod(shape, dtype=object))
        elements: NDArray[Any] = np.frombuffer(array.data, dtype, size, stream.tell()) if size else np.empty(0, dtype)
        return elements.reshape(shape, order="F" if by_columns else "C")
    except (ValueError, KeyError) as error:
        raise LocalError(f"array {name!r} is not in NumPy's file format: {error}") from None
