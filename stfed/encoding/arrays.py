"""What counts as a tensor: NumPy arrays and torch tensors of real numbers, seen as flat NumPy memory.

torch is never imported here unless a tensor of it has to be made; a caller that passes torch tensors has imported it already. NumPy has
no bfloat16, so a bfloat16 tensor is seen as its `uint16` bit patterns and the kernels of `stfed.encoding.quantize` widen and narrow
those.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from stfed.errors import LocalError

if TYPE_CHECKING:
    import torch

Array: TypeAlias = "NDArray[Any] | torch.Tensor"

BFLOAT16 = "bfloat16"
FLOAT_DTYPES = frozenset({"float16", "float32", "float64", BFLOAT16})
# The most that one element of an integer tensor may change in a round, by dtype: anything its range allows, but at most 2^32 - 1. Only
# 64-bit integers can exceed that; counters and ids do not, and a wider bound would cost every element another limb.
INTEGER_CHANGE: Mapping[str, int] = MappingProxyType(
    {"bool": 1} | {f"{sign}int{bits}": (1 << min(bits, 32)) - 1 for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


def is_torch(value: object) -> TypeGuard[torch.Tensor]:
    """True for a torch tensor; without importing torch, because nobody can own one who has not imported it."""
    module = sys.modules.get("torch")
    return module is not None and isinstance(value, module.Tensor)


def describe(name: str, value: object) -> tuple[str, tuple[int, ...]]:
    """The dtype's name and the shape of an array.

    Raises:
        LocalError: not an array, or of a dtype that has no weighted mean here (complex, object, strings, extended floats, sparse).
    """
    if is_torch(value):
        dtype = str(value.dtype).removeprefix("torch.") if str(value.layout) == "torch.strided" else str(value.layout)
    elif isinstance(value, np.ndarray | np.generic):
        dtype = value.dtype.name if value.dtype.kind in "fiub" else str(value.dtype)
        if dtype == BFLOAT16:
            raise LocalError(f"tensor {name!r} is a NumPy array of bfloat16", hint="pass bfloat16 as torch tensors")
    else:
        raise LocalError(f"tensor {name!r} is a {type(value).__name__}", hint="pass NumPy arrays or torch tensors")
    if dtype not in FLOAT_DTYPES and dtype not in INTEGER_CHANGE:
        raise LocalError(
            f"tensor {name!r} has dtype {dtype}, which cannot be averaged",
            hint="supported are float16, float32, float64, bfloat16 (torch), the integers and bool",
        )
    return dtype, tuple(int(size) for size in value.shape)


def flat(value: Array) -> NDArray[Any]:
    """The elements in C order as one dimension; a view where the memory is contiguous and on the host. bfloat16 comes as its bits."""
    if is_torch(value):
        tensor = value.detach().cpu().reshape(-1)
        if str(tensor.dtype) == "torch.bfloat16":
            return _bits(tensor)
        array: NDArray[Any] = tensor.numpy()
        return array
    return np.asarray(value).reshape(-1)


def empty_like(value: Array) -> tuple[Array, NDArray[Any]]:
    """A new array of the same kind, dtype and shape on the host, and the flat memory to fill it through (as `flat` sees it)."""
    if is_torch(value):
        import torch

        tensor = torch.empty(value.shape, dtype=value.dtype)
        return tensor, flat(tensor)
    array = np.empty(np.shape(value), np.asarray(value).dtype.newbyteorder("="))
    return array, array.reshape(-1)


def placed_like(made: Array, like: Array) -> Array:
    """`made`, moved to the device that `like` lives on."""
    return made.to(like.device) if is_torch(made) and is_torch(like) else made


def _bits(tensor: torch.Tensor) -> NDArray[np.uint16]:
    import torch

    bits: NDArray[np.int16] = tensor.view(torch.int16).numpy()
    return bits.view(np.uint16)
