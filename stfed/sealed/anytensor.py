"""Tensors of numpy or torch, whichever they are, for what works with both. torch is imported only where a torch tensor is at hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stfed.errors import LocalError, shown
from stfed.sealed import inner
from stfed.sealed.gather import Gathered
from stfed.sealed.numpy import plaintext
from stfed.sealed.tensors import DTYPES, Spec, dtype_named


def source(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None) -> Gathered:
    """The plain file of tensors that are all of one framework; errors as its `save_file` raises them."""
    if any(map(_is_torch, tensors.values())):
        from stfed.sealed import torch_tensors

        return torch_tensors.plaintext(tensors, metadata)
    return plaintext(tensors, metadata)


def octets(name: str, tensor: Any) -> tuple[Spec, memoryview]:
    """What one tensor is, and its bytes as they stand in a file: a view of its memory if that is as the file has it."""
    single = source({name: tensor}, None)
    header = inner.parse(lambda start, stop: bytes(single.piece(start, stop, memoryview(b""))), single.size_bytes)
    dtype, shape, begin, end = header.tensors[name]
    if begin == end:
        return Spec(dtype, shape, 0), memoryview(b"")
    return Spec(dtype, shape, end - begin), single.piece(header.data_start, single.size_bytes, memoryview(b""))


def spec_of(name: str, described: Any) -> Spec:
    """A tensor as it is announced: `(dtype, shape)`, or anything that has these two, such as a tensor on torch's meta device.

    Args:
        name: the tensor's name, for errors.
        described: the type is one of numpy or torch, with the shape that these would show, or a safetensors code such as "BF16", with the
            shape that stands in the file. The shapes differ for 4-bit floats alone.

    Raises:
        TensorError: for a type that safetensors has not.
        LocalError: for a shape that is none.
    """
    dtype, shape = described if isinstance(described, tuple) else (getattr(described, "dtype", None), getattr(described, "shape", None))
    if dtype is None or not isinstance(shape, Sequence) or not all(type(length) is int and length >= 0 for length in shape):
        raise LocalError(
            f"tensor {shown(name)} is announced as {shown(described)}", hint='give (dtype, shape), such as ("F32", [4096, 1024])'
        )
    lengths = tuple(shape)
    if isinstance(dtype, str) and dtype in DTYPES:
        found = DTYPES[dtype]
    else:
        found = dtype_named(str(dtype).removeprefix("torch.") if type(dtype).__module__ == "torch" else _numpy_name(dtype))
        if found.code == "F4" and lengths:  # torch counts pairs of them
            lengths = (*lengths[:-1], 2 * lengths[-1])
    bits = math.prod(lengths) * found.bits
    if bits % 8:
        raise LocalError(f"tensor {shown(name)} is announced as {found.code} {list(lengths)}, which does not end at a whole byte")
    return Spec(found, lengths, bits // 8)


def refuse_shared(tensors: Mapping[str, Any]) -> None:
    """SharedMemoryError for torch tensors that share memory, as if they were to be saved into one file."""
    if any(map(_is_torch, tensors.values())):
        from stfed.sealed.models import SharedMemoryError, shared

        failing = [names for names in shared(tensors) if len(names) > 1]
        if failing:
            raise SharedMemoryError(f"Some tensors share memory: {failing}", hint="save one of them, or .clone() the others")


def _is_torch(tensor: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(tensor, torch.Tensor)


def _numpy_name(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return str(dtype)
