"""Tensors on demand: the shared half of `safe_open` for numpy and torch.

Names, order and arguments are those of `safetensors.safe_open`. A tensor is read when it is asked for; a slice reads the rows that hold it,
from the first to the last one needed, and nothing outside them. Both cost the segments they touch, 1 MiB each by default.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, Protocol, Self, Unpack

from stfed.errors import StfedError
from stfed.keys.keyfile import PathLike
from stfed.sealed.errors import TensorError
from stfed.sealed.indexing import Picked, everything, picked
from stfed.sealed.inner import TensorInfo, WrongTypeError
from stfed.sealed.options import OpenOptions
from stfed.sealed.reader import SealedReader
from stfed.sealed.statements import Scalar

_FRAMEWORKS = {
    "np": "stfed.sealed.numpy",
    "numpy": "stfed.sealed.numpy",
    "pt": "stfed.sealed.torch_tensors",
    "torch": "stfed.sealed.torch_tensors",
    "pytorch": "stfed.sealed.torch_tensors",
}
_BACKENDS = ("mmap", "pread")
_CLOSED = "File is closed"

ENCRYPTED = "stfed.ckks"
"""The metadata entry of a file whose tensors are the words of encrypted ones: not numbers to anybody without `stfed.encrypted`."""


class Framework(Protocol):
    """What numpy and torch do differently."""

    def check_device(self, device: str | int) -> None:
        """Refuses a device that the framework has not."""
        ...

    def to_tensors(self, data: memoryview, infos: Mapping[str, TensorInfo], device: str | int) -> dict[str, Any]:
        """Tensors over `data`, which they may keep; their places count from its start."""
        ...

    def check_index(self, index: Any) -> None:
        """Refuses an index beyond integers, slices and one `...`, unless the framework takes such."""
        ...


def framework_named(name: str) -> Framework:
    """numpy or torch, imported now; TensorError for others."""
    try:
        module = _FRAMEWORKS[name]
    except KeyError:
        raise TensorError(f"framework {name} is invalid", hint="use 'np' or 'pt'") from None
    framework: Framework = importlib.import_module(module).FRAMEWORK
    return framework


def check_backend(backend: str) -> None:
    """TensorError for a backend that safetensors has not. Which of them it is makes no difference."""
    if backend not in _BACKENDS:
        raise TensorError(f'backend "{backend}" is invalid (expected one of: "mmap", "pread")')


def file_name(filename: PathLike) -> str:
    """The path as text; WrongTypeError for bytes, which might be the content of a file as well as its name."""
    path = os.fspath(filename)
    if not isinstance(path, str):
        raise WrongTypeError("a file's name is text or a path, not bytes", hint="use load() for the content of a file")
    return path


def content(data: bytes) -> bytes:
    """The argument; WrongTypeError for what is not the bytes of a file, a file's name for example."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise WrongTypeError(f"load() takes the bytes of a file, {type(data).__name__} is none", hint="use load_file() for a path")
    return data


class SafeOpen:
    """A sealed file whose tensors are read one by one. Leaving its `with` block, or `__exit__`, forgets keys and plaintext.

    Args:
        filename: the sealed file.
        framework: "np" or "pt".
        device: where torch tensors go; numpy has "cpu" alone.
        backend: "mmap" or "pread", as safetensors has it. It makes no difference: ciphertext is always copied to private memory before it
            is verified, so that nobody can change it in between.
        options: `identity=` or `passphrase=`, and `trusted=`, `purpose=` and the rest of `stfed.sealed.options.OpenOptions`.

    Raises:
        FileNotFoundError: if there is no such file.
        NotARecipientError: if it is sealed to others.
        SealError: if it is no sealed file, or was changed, or the options do not allow to open it.
    """

    def __init__(
        self,
        filename: PathLike,
        framework: str,
        device: str | int | None = "cpu",
        *,
        backend: str = "mmap",
        **options: Unpack[OpenOptions],
    ) -> None:
        check_backend(backend)
        self._framework = framework_named(framework)
        self._device = "cpu" if device is None else device
        self._framework.check_device(self._device)
        self._reader: SealedReader | None = SealedReader(file_name(filename), **options)
        _check_plain(self._reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def keys(self) -> list[str]:
        """The tensors' names, sorted."""
        return sorted(self._open().header.tensors)

    def offset_keys(self) -> list[str]:
        """The tensors' names in the order of their data: the fastest order to read them in."""
        return list(self._open().header.tensors)

    def metadata(self) -> dict[str, str] | None:
        """The text that was saved with the tensors."""
        metadata = self._open().header.metadata
        return None if metadata is None else dict(metadata)

    def provenance(self) -> dict[str, Scalar]:
        """What the sealer states about the content, publicly or for recipients: unchanged since sealing, and signed if the file is."""
        return dict(self._open().statements)

    def get_tensor(self, name: str) -> Any:
        """A whole tensor; TensorError if there is none of that name."""
        info = self._info(name)
        return self._read(info, everything(info))

    def get_tensors(self) -> dict[str, Any]:
        """All tensors, in one allocation that their views share."""
        return read_all(self._open(), self._framework, self._device)

    def get_slice(self, name: str) -> SafeSlice:
        """A tensor to be indexed, `f.get_slice("w")[2:4, :8]`; TensorError if there is none of that name."""
        return SafeSlice(self, self._info(name))

    def _info(self, name: str) -> TensorInfo:
        if not isinstance(name, str):
            raise WrongTypeError(f"a tensor's name is text, {type(name).__name__} is not")
        try:
            return self._open().header.tensors[name]
        except KeyError:
            raise TensorError(f"File does not contain tensor {name}") from None

    def _read(self, info: TensorInfo, part: Picked) -> Any:
        """The rows of a tensor that hold `part`, in memory of their own."""
        data = self._open().read(info.begin + part.begin, info.begin + part.end)
        return _tensors(self._framework, data, {"": TensorInfo(info.dtype, part.shape, 0, len(data))}, self._device)[""]

    def _open(self) -> SealedReader:
        if self._reader is None:
            raise TensorError(_CLOSED)
        return self._reader


class SafeSlice:
    """A tensor that is read as far as it is indexed, with integers, slices and `...` as numpy takes them.

    That is more than safetensors takes for numpy: slices may reach over the end, count from there, and run backwards. Every other index
    (lists, masks, `None`) is refused for numpy and read whole for torch, as safetensors does.
    """

    def __init__(self, file: SafeOpen, info: TensorInfo) -> None:
        self._file = file
        self._info = info

    def get_shape(self) -> list[int]:
        """The whole tensor's shape."""
        return list(self._info.shape)

    def get_dtype(self) -> str:
        """The element type's code, "F32" for example."""
        return self._info.dtype.code

    def __getitem__(self, index: Any) -> Any:
        file, info = self._file, self._info
        whole, part = everything(info), picked(index, info)
        if part is None:
            file._framework.check_index(index)
            return file._read(info, whole)[index]
        if info.dtype.bits % 8 and part != whole:
            raise TensorError(f"a tensor of {info.dtype.code} is not sliced: its elements share bytes", hint="read it whole")
        tensor = file._read(info, part)
        return tensor[part.rest] if part.rest else tensor


def read_all(reader: SealedReader, framework: Framework, device: str | int) -> dict[str, Any]:
    """Every tensor: all segments at once, by several threads, into one piece of memory that the tensors share."""
    _check_plain(reader)
    return _tensors(framework, reader.read(0, reader.header.data_bytes), reader.header.tensors, device)


def _check_plain(reader: SealedReader) -> None:
    """TensorError if the tensors inside are encrypted ones: their bytes must not be taken for numbers."""
    if reader.header.metadata is not None and ENCRYPTED in reader.header.metadata:
        reader.close()
        raise TensorError("the tensors in this file are encrypted (CKKS)", hint="stfed.encrypted.load_file, with their evaluation context")


def _tensors(framework: Framework, data: memoryview, infos: Mapping[str, TensorInfo], device: str | int) -> dict[str, Any]:
    """What the framework makes of the data; TensorError for a shape that safetensors allows and the framework has not."""
    try:
        return framework.to_tensors(data, infos, device)
    except StfedError:
        raise
    except (ValueError, OverflowError) as error:
        raise TensorError(f"a tensor has a shape that the framework does not take: {error}") from None
