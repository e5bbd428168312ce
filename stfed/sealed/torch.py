"""The verbs of `safetensors.torch`, with keys: `save_file`, `load_file`, `save`, `load`, `safe_open`.

As `stfed.sealed.numpy`, for torch tensors, bfloat16 and the 8- and 4-bit floats included. Like safetensors it refuses sparse tensors,
tensors that are not contiguous, and tensors that share memory.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from stfed.errors import LocalError
from stfed.sealed import inner
from stfed.sealed.envelope import Provenance
from stfed.sealed.errors import TensorError
from stfed.sealed.inner import TensorInfo
from stfed.sealed.keyring import IdentityLike, PathLike, RecipientLike
from stfed.sealed.lazy import SafeOpen, read_all
from stfed.sealed.reader import SealedReader
from stfed.sealed.stream import Source
from stfed.sealed.writer import plaintext, seal_to_bytes, seal_to_path

__all__ = ["SharedMemoryError", "load", "load_file", "safe_open", "save", "save_file"]


class SharedMemoryError(LocalError, RuntimeError):
    """Two tensors share memory: saved apart they would take more room, and come back as strangers."""


def save_file(
    tensors: Mapping[str, torch.Tensor],
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    recipients: RecipientLike | Iterable[RecipientLike],
    provenance: Provenance | None = None,
) -> None:
    """Seals tensors into a file that only `recipients` can read, as `stfed.sealed.numpy.save_file` does.

    Provenance stands in the file *readable without a key* and, as long as files are not signed, unauthenticated: anybody may seal a file
    that states anything. Its hash is bound into the key wrapping and the payload encryption, so that nobody without the file key can edit
    it in a file without `open` failing.

    Raises:
        LocalError: as there, and for a sparse or non-contiguous tensor.
        SharedMemoryError: for tensors that share memory.
    """
    seal_to_path(_source(tensors, metadata), filename, recipients, provenance)


def save(
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    recipients: RecipientLike | Iterable[RecipientLike],
    provenance: Provenance | None = None,
) -> bytes:
    """The sealed file as bytes; arguments and errors as in `save_file`."""
    return seal_to_bytes(_source(tensors, metadata), recipients, provenance)


def load_file(filename: PathLike, device: str | int = "cpu", *, identity: IdentityLike | Iterable[IdentityLike]) -> dict[str, torch.Tensor]:
    """Opens a sealed file and returns all its tensors on `device`, every byte verified. On the CPU they are views of one allocation.

    Raises:
        FileNotFoundError: if there is no such file.
        NotARecipientError: if it is sealed to others.
        SealError: if it is no sealed file, or was changed.
    """
    FRAMEWORK.check_device(device)
    with SealedReader(filename, identity) as reader:
        return read_all(reader, FRAMEWORK, device)


def load(data: bytes, *, identity: IdentityLike | Iterable[IdentityLike]) -> dict[str, torch.Tensor]:
    """The tensors of a sealed file in memory; errors as in `load_file`."""
    with SealedReader(data, identity) as reader:
        return read_all(reader, FRAMEWORK, "cpu")


class safe_open(SafeOpen):
    """`safetensors.safe_open` for a sealed file; reading a tensor decrypts only the segments that it lies in.

    Example:
        with safe_open("model.safetensors", framework="pt", device=0, identity="me.key") as file:
            first = file.get_slice("embedding")[:16]
    """

    def __init__(
        self,
        filename: PathLike,
        framework: str = "pt",
        device: str | int = "cpu",
        *,
        identity: IdentityLike | Iterable[IdentityLike],
    ) -> None:
        super().__init__(filename, framework, device, identity=identity)


class _Torch:
    """The framework half of `stfed.sealed.lazy`."""

    def check_device(self, device: str | int) -> None:
        try:
            torch.device(device)
        except (RuntimeError, TypeError):
            raise TensorError(f"device {device} is invalid") from None

    def to_tensor(self, data: memoryview, info: TensorInfo, shape: tuple[int, ...], device: str | int) -> torch.Tensor:
        dtype = getattr(torch, info.dtype.name, None)
        if dtype is None:
            raise TensorError(f"torch has no {info.dtype.name}")
        shape = _stored_shape(info.dtype, shape)
        if not len(data):
            return torch.empty(shape, dtype=dtype, device=device)
        octets = np.frombuffer(data, dtype=np.uint8)
        if octets.ctypes.data % (info.dtype.bits // 8 or 1):  # files of others need not align their tensors
            octets = octets.copy()
        if sys.byteorder == "big":
            octets = _swapped(octets, info.dtype)
        return torch.from_numpy(octets).view(dtype).reshape(shape).to(device)


FRAMEWORK = _Torch()


def _stored_shape(dtype: inner.Dtype, shape: tuple[int, ...]) -> tuple[int, ...]:
    """torch counts pairs of 4-bit floats, the header counts the floats."""
    if dtype.code != "F4":
        return shape
    if not shape or shape[-1] % 2:
        raise TensorError(f"torch holds 4-bit floats in pairs: a last dimension of {list(shape)[-1:]} does not fit")
    return (*shape[:-1], shape[-1] // 2)


def _swapped(
    octets: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], dtype: inner.Dtype
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    width = 4 if dtype.code == "C64" else max(1, dtype.bits // 8)
    return octets.reshape(-1, width)[:, ::-1].reshape(-1)


def _source(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None) -> Source:
    specs = {name: _spec(name, tensor) for name, tensor in tensors.items()}
    _refuse_shared(tensors)
    return plaintext(specs, metadata)


def _spec(name: str, tensor: torch.Tensor) -> tuple[inner.Spec, memoryview]:
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise LocalError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
    if tensor.layout != torch.strided:
        raise LocalError(f"You are trying to save a sparse tensor: `{name}`", hint="call .to_dense() on it before saving")
    if not tensor.is_contiguous():
        raise LocalError(f"You are trying to save a non contiguous tensor: `{name}`", hint="call .contiguous() on it before saving")
    dtype = inner.dtype_named(str(tensor.dtype).removeprefix("torch."))
    shape = tuple(tensor.shape)
    if dtype.code == "F4" and shape:
        shape = (*shape[:-1], shape[-1] * 2)
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().reshape(-1).view(torch.uint8)
    octets = flat.numpy()
    if sys.byteorder == "big":
        octets = _swapped(octets, dtype)
    return inner.Spec(dtype, shape, octets.nbytes), octets.data


def _refuse_shared(tensors: Mapping[str, torch.Tensor]) -> None:
    spans = sorted(
        (str(tensor.device), tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes, name)
        for name, tensor in tensors.items()
        if tensor.nbytes
    )
    for (device, _, end, name), (next_device, start, _, next_name) in itertools.pairwise(spans):
        if device == next_device and start < end:
            raise SharedMemoryError(
                f"Some tensors share memory: `{name}` and `{next_name}`", hint="save one of them, or .clone() the other before saving"
            )
