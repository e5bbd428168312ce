"""The verbs of `safetensors.numpy`, with keys: `save_file`, `load_file`, `save`, `load`, `safe_open`.

A script changes its import line and adds `recipients=` where it saves and `identity=` where it loads; everything else stays, names, order
and meaning of the arguments included. Recipients are public keys (`age1...` strings, KEY.pub paths, `Recipient` objects), identities are
secret keys (key file paths, `Identity` objects); one or a list. All further options are in `stfed.sealed.options`.

Where safetensors writes the memory of an array that is transposed, strided or in Fortran's order as it lies, which comes back as another
array, this writes what the array says.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from stfed.errors import LocalError
from stfed.keys.keyfile import PathLike
from stfed.sealed.errors import TensorError
from stfed.sealed.gather import Gathered, gathered
from stfed.sealed.lazy import SafeOpen, check_backend, content, file_name, read_all
from stfed.sealed.options import OpenOptions, SealOptions
from stfed.sealed.reader import SealedReader
from stfed.sealed.tensors import Dtype, Spec, TensorInfo, dtype_named
from stfed.sealed.writer import seal_to_bytes, seal_to_path

__all__ = ["load", "load_file", "safe_open", "save", "save_file"]


def save_file(
    tensor_dict: Mapping[str, npt.NDArray[Any]],
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[SealOptions],
) -> None:
    """Seals tensors into a file that only `recipients` can read. The file is complete or not there; its mode is 0600.

    Beside the tensors this holds a few MiB, and a copy of any one that is not contiguous or not little-endian.

    Args:
        tensor_dict: arrays by name. Types are those that safetensors has.
        filename: a sealed file is by itself a valid safetensors file and may be called so.
        metadata: text to save with the tensors; sealed like them.
        options: `recipients=` or `passphrase=`, and `signer=`, `provenance=`, `policy=` and the rest of `SealOptions`.

    Raises:
        LocalError: for no, mixed or unusable recipients, other options that do not fit, names or metadata that are no text, or a `filename`
            that is a link or a folder.
        TensorError: for a type that safetensors has not.
    """
    seal_to_path(plaintext(tensor_dict, metadata), file_name(filename), **options)


def save(tensor_dict: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None, **options: Unpack[SealOptions]) -> bytes:
    """The sealed file as bytes; arguments and errors as in `save_file`."""
    return seal_to_bytes(plaintext(tensor_dict, metadata), **options)


def load_file(filename: PathLike, *, backend: str = "mmap", **options: Unpack[OpenOptions]) -> dict[str, npt.NDArray[Any]]:
    """Opens a sealed file and returns all its tensors, every byte verified. They are views of one allocation.

    Args:
        filename: the sealed file.
        backend: "mmap" or "pread", as safetensors has it. It makes no difference: ciphertext is always copied to private memory before it
            is verified, so that nobody can change it in between.
        options: `identity=` or `passphrase=`, and `trusted=`, `purpose=` and the rest of `OpenOptions`.

    Raises:
        FileNotFoundError: if there is no such file.
        NotARecipientError: if it is sealed to others.
        SealError: if it is no sealed file, or was changed, or the options do not allow to open it.
    """
    check_backend(backend)
    with SealedReader(file_name(filename), **options) as reader:
        return read_all(reader, FRAMEWORK, "cpu")


def load(data: bytes, **options: Unpack[OpenOptions]) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a sealed file in memory; options and errors as in `load_file`."""
    with SealedReader(content(data), **options) as reader:
        return read_all(reader, FRAMEWORK, "cpu")


class safe_open(SafeOpen):
    """`safetensors.safe_open` for a sealed file; reading a tensor decrypts only the segments that it lies in.

    Example:
        with safe_open("model.safetensors", framework="np", identity="me.key") as file:
            first = file.get_slice("embedding")[:16]
    """

    def __init__(
        self,
        filename: PathLike,
        framework: str = "np",
        device: str | int | None = "cpu",
        *,
        backend: str = "mmap",
        **options: Unpack[OpenOptions],
    ) -> None:
        super().__init__(filename, framework, device, backend=backend, **options)


class _Numpy:
    """The framework half of `stfed.sealed.lazy`."""

    def check_device(self, device: str | int) -> None:
        if device != "cpu":
            raise TensorError(f"Device {device} is not supported for framework numpy")

    def to_tensors(self, data: memoryview, infos: Mapping[str, TensorInfo], device: str | int) -> dict[str, Any]:
        octets = np.asarray(data)
        tensors = {}
        for name, (dtype, shape, begin, _) in infos.items():
            array = np.ndarray(shape, _type(dtype), octets, begin)
            if not array.flags.aligned:  # files of others need not align their tensors
                array = array.copy()
            tensors[name] = array if sys.byteorder == "little" else array.byteswap()
        return tensors

    def check_index(self, index: Any) -> None:
        """Refused, in the words of safetensors."""
        if isinstance(index, list):
            raise TensorError("Non empty lists are not implemented", hint="read the slice, then index the array")
        raise TensorError("Unsupported slice index: expected slice, int, or ellipsis", hint="read the slice, then index the array")


FRAMEWORK = _Numpy()


@functools.cache
def _type(dtype: Dtype) -> np.dtype[Any]:
    if dtype.bits % 8 == 0:  # ml_dtypes has shorter ones, but keeps each in a byte
        with contextlib.suppress(TypeError):
            return np.dtype(dtype.name)
        with contextlib.suppress(ImportError, TypeError):
            importlib.import_module("ml_dtypes")  # tells numpy the names of its types
            return np.dtype(dtype.name)
    raise TensorError(f"numpy has no {dtype.name}", hint="install ml_dtypes, or read it with stfed.sealed.torch")


def plaintext(tensor_dict: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None) -> Gathered:
    """The plain file of arrays, to be sealed; errors as in `save_file`."""
    if not isinstance(tensor_dict, Mapping):
        raise LocalError(f"Expected a dict of [str, np.ndarray] but received {type(tensor_dict)}")
    specs, arrays = {}, {}
    for name, array in tensor_dict.items():
        if type(array) is not np.ndarray:
            array = _array(name, array)
        dtype, little = _form(array.dtype)
        specs[name] = Spec(dtype, array.shape, array.nbytes)
        if not little:
            array = array.byteswap()
        arrays[name] = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    return gathered(specs, arrays, metadata)


def _array(name: str, array: Any) -> npt.NDArray[Any]:
    if not isinstance(array, np.ndarray | np.generic):
        raise LocalError(f"Key `{name}` is invalid, expected np.ndarray but received {type(array)}")
    return np.asarray(array)


@functools.cache  # numpy composes the name anew at every look, which would take most of the time for many small tensors
def _form(dtype: np.dtype[Any]) -> tuple[Dtype, bool]:
    """Its entry in safetensors' table, and whether it is little-endian in memory."""
    order = dtype.byteorder
    return dtype_named(dtype.name), order in ("<", "|") or (order == "=" and sys.byteorder == "little")
