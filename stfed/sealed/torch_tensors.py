"""Torch tensors as the bytes of a file, and back. What safetensors refuses to write is refused here, in its words.

numpy holds the memory on the way, so types that numpy lacks go under an integer type of the same length. Every tensor that is read has a
storage of its own, which ends where the tensor ends, even if all of them lie in one allocation: `torch.save` of one of them takes that
tensor along and not the content of the whole file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from stfed.errors import LocalError
from stfed.sealed.errors import TensorError
from stfed.sealed.gather import Array, Gathered, gathered
from stfed.sealed.models import SharedMemoryError, shared
from stfed.sealed.tensors import DTYPES, Dtype, Spec, TensorInfo, unknown


class _Form(NamedTuple):
    """A type as torch has it, and as numpy holds it."""

    dtype: Dtype
    torch: torch.dtype
    carrier: torch.dtype
    numpy: np.dtype[Any]
    paired: bool


def _form(dtype: Dtype) -> _Form | None:
    found = getattr(torch, dtype.name, None)
    if found is None:
        return None
    paired = dtype.code == "F4"
    carrier = torch.int16 if dtype.code == "BF16" else torch.uint8 if paired or dtype.code.startswith("F8_") else found
    return _Form(dtype, found, carrier, np.dtype(str(carrier).removeprefix("torch.")), paired)


_BY_CODE = {code: form for code, form in ((dtype.code, _form(dtype)) for dtype in DTYPES.values()) if form is not None}
_BY_TORCH = {form.torch: form for form in _BY_CODE.values()}


class _Torch:
    """The framework half of `stfed.sealed.lazy`."""

    def check_device(self, device: str | int) -> None:
        try:
            torch.device(device)
        except (RuntimeError, TypeError):
            raise TensorError(f"device {device} is invalid") from None

    def to_tensors(self, data: memoryview, infos: Mapping[str, TensorInfo], device: str | int) -> dict[str, Any]:
        octets, elsewhere = np.asarray(data), device != "cpu"
        tensors = {}
        for name, (dtype, shape, begin, _) in infos.items():
            form = _BY_CODE.get(dtype.code)
            if form is None:
                raise TensorError(f"torch has no {dtype.name}")
            array = np.ndarray(_stored(shape) if form.paired else shape, form.numpy, octets, begin)
            if not array.flags.aligned:  # files of others need not align their tensors
                array = array.copy()
            if sys.byteorder == "big":
                array = array.byteswap()
            tensor = torch.from_numpy(array)
            if form.carrier is not form.torch:
                tensor = tensor.view(form.torch)
            tensors[name] = tensor.to(device) if elsewhere else tensor
        return tensors

    def check_index(self, index: Any) -> None:
        """Whatever it is, torch decides."""


FRAMEWORK = _Torch()


def plaintext(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None, *, otherwise: str = "call .contiguous() on it"
) -> Gathered:
    """The plain file of `tensors`.

    Args:
        tensors: by name.
        metadata: text to save with them.
        otherwise: what to do about a tensor that is not contiguous.

    Raises:
        LocalError: for what `check` refuses, and for tensors that are not contiguous.
        SharedMemoryError: for tensors that share memory.
        TensorError: for a type that safetensors has not.
    """
    check(tensors)
    failing = [names for names in shared(tensors) if len(names) > 1]
    if failing:
        raise SharedMemoryError(
            "Some tensors share memory, this will lead to duplicate memory on disk and potential differences when loading them again:"
            f" {failing}. A potential way to correctly save your model is to use `save_model`.",
            hint="or save one of them, or .clone() the others",
        )
    specs, arrays = {}, {}
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise LocalError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. It either means you are trying to save"
                " tensors which are reference of each other in which case it's recommended to save only the full tensors, and reslice at"
                " load time.",
                hint=otherwise,
            )
        specs[name], arrays[name] = _octets(name, tensor)
    return gathered(specs, arrays, metadata)


def check(tensors: Mapping[str, torch.Tensor]) -> None:
    """LocalError for what is not dense tensors by name."""
    if not isinstance(tensors, Mapping):
        raise LocalError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    sparse = []
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise LocalError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
        if tensor.layout is not torch.strided:
            sparse.append(name)
    if sparse:
        raise LocalError(
            f"You are trying to save a sparse tensors: `{sparse}` which this library does not support. You can make it a dense tensor"
            " before saving with `.to_dense()` but be aware this might make a much larger file than needed."
        )


def _octets(name: str, tensor: torch.Tensor) -> tuple[Spec, Array]:
    """An array over the tensor's memory, or over a copy where that is on another device, conjugated or negated."""
    form = _BY_TORCH.get(tensor.dtype)
    if form is None:
        raise unknown(str(tensor.dtype).removeprefix("torch."))
    shape = tuple(tensor.shape)
    if form.carrier is not form.torch:
        tensor = tensor.detach().resolve_neg().view(form.carrier)
    if form.paired:
        if not shape:
            raise TensorError(f"tensor `{name}` holds a pair of 4-bit floats: two numbers are not zero-dimensional")
        shape = (*shape[:-1], 2 * shape[-1])
    array: Array = tensor.numpy(force=True)
    if sys.byteorder == "big":
        array = array.byteswap()
    return Spec(form.dtype, shape, array.nbytes), array


def _stored(shape: tuple[int, ...]) -> tuple[int, ...]:
    """torch counts pairs of 4-bit floats, the header counts the floats."""
    if not shape or shape[-1] % 2:
        raise TensorError(f"f4_x2 dtype requires that the last dim be divisible by 2 in torch: got {list(shape)}")
    return (*shape[:-1], shape[-1] // 2)
