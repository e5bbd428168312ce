"""The verbs of `safetensors.numpy`, with keys: `save_file`, `load_file`, `save`, `load`, `safe_open`.

A script changes its import line and adds `recipients=` where it saves and `identity=` where it loads; everything else stays, names, order
and meaning of the arguments included. Recipients are public keys (`age1...` strings, KEY.pub paths, `Recipient` objects), identities are
secret keys (key file paths, `Identity` objects); one or a list.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

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

__all__ = ["load", "load_file", "safe_open", "save", "save_file"]


def save_file(
    tensor_dict: Mapping[str, npt.NDArray[Any]],
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    recipients: RecipientLike | Iterable[RecipientLike],
    provenance: Provenance | None = None,
) -> None:
    """Seals tensors into a file that only `recipients` can read. The file is complete or not there; its mode is 0600.

    Beside the tensors this holds a few MiB, and a copy of any one that is not contiguous or not little-endian.

    Args:
        tensor_dict: arrays by name. Types are those that safetensors has.
        filename: a sealed file is by itself a valid safetensors file and may be called so.
        metadata: text to save with the tensors; sealed like them.
        recipients: at least one public key, all hybrid or all X25519.
        provenance: flat statements about the content (round, parties, parameters). They stand in the file *readable without a key*. As
            long as files are not signed they are not authenticated: anybody may seal a file that states anything. But their hash is bound
            into the key wrapping and the payload encryption, so nobody without the file key can edit them in a file without `open` failing.

    Raises:
        LocalError: for no, mixed or unusable recipients, unfit provenance or metadata, or a `filename` that is a link or a folder.
        TensorError: for a type that safetensors has not.
    """
    seal_to_path(_source(tensor_dict, metadata), filename, recipients, provenance)


def save(
    tensor_dict: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
    *,
    recipients: RecipientLike | Iterable[RecipientLike],
    provenance: Provenance | None = None,
) -> bytes:
    """The sealed file as bytes; arguments and errors as in `save_file`."""
    return seal_to_bytes(_source(tensor_dict, metadata), recipients, provenance)


def load_file(filename: PathLike, *, identity: IdentityLike | Iterable[IdentityLike]) -> dict[str, npt.NDArray[Any]]:
    """Opens a sealed file and returns all its tensors, every byte verified. They are views of one allocation.

    Args:
        filename: the sealed file.
        identity: the secret key of one of its recipients.

    Raises:
        FileNotFoundError: if there is no such file.
        NotARecipientError: if it is sealed to others.
        SealError: if it is no sealed file, or was changed.
    """
    with SealedReader(filename, identity) as reader:
        return read_all(reader, FRAMEWORK, "cpu")


def load(data: bytes, *, identity: IdentityLike | Iterable[IdentityLike]) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a sealed file in memory; errors as in `load_file`."""
    with SealedReader(data, identity) as reader:
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
        device: str | int = "cpu",
        *,
        identity: IdentityLike | Iterable[IdentityLike],
    ) -> None:
        super().__init__(filename, framework, device, identity=identity)


class _Numpy:
    """The framework half of `stfed.sealed.lazy`."""

    def check_device(self, device: str | int) -> None:
        if device != "cpu":
            raise TensorError(f"Device {device} is not supported for framework numpy")

    def to_tensor(self, data: memoryview, info: TensorInfo, shape: tuple[int, ...], device: str | int) -> npt.NDArray[Any]:
        try:
            dtype = np.dtype(info.dtype.name)
        except TypeError:
            raise TensorError(
                f"numpy has no {info.dtype.name}", hint="import ml_dtypes beforehand, or read it with stfed.sealed.torch"
            ) from None
        flat = np.frombuffer(data, dtype=np.uint8).view(dtype)
        if not flat.flags.aligned:  # files of others need not align their tensors
            flat = flat.copy()
        if sys.byteorder == "big":
            flat = flat.byteswap()
        return flat.reshape(shape)


FRAMEWORK = _Numpy()


def _source(tensor_dict: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None) -> Source:
    return plaintext({name: _spec(name, array) for name, array in tensor_dict.items()}, metadata)


def _spec(name: str, array: npt.NDArray[Any]) -> tuple[inner.Spec, memoryview]:
    if not isinstance(name, str) or not isinstance(array, np.ndarray | np.generic):
        raise LocalError(f"entry {name!r} does not map text to a numpy array")
    array = np.asarray(array)
    dtype, little = _form(array.dtype)
    flat = np.ascontiguousarray(array if little else array.byteswap()).reshape(-1)
    return inner.Spec(dtype, array.shape, array.nbytes), flat.view(np.uint8).data


@functools.cache  # numpy composes the name anew at every look, which would take most of the time for many small tensors
def _form(dtype: np.dtype[Any]) -> tuple[inner.Dtype, bool]:
    """Its entry in safetensors' table, and whether it is little-endian in memory."""
    order = dtype.byteorder
    return inner.dtype_named(dtype.name), order in ("<", "|") or (order == "=" and sys.byteorder == "little")
