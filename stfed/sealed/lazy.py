"""Tensors on demand: the shared half of `safe_open` for numpy and torch.

Names, order and arguments are those of `safetensors.safe_open`. A tensor is read when it is asked for; a slice reads the rows that hold it,
from the first to the last one needed, and nothing outside them. Both cost the segments they touch, 1 MiB each by default.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Iterable
from typing import Any, Protocol

from stfed.errors import LocalError
from stfed.sealed.errors import TensorError
from stfed.sealed.inner import TensorInfo
from stfed.sealed.keyring import IdentityLike, PathLike
from stfed.sealed.reader import SealedReader

_FRAMEWORKS = {
    "np": "stfed.sealed.numpy",
    "numpy": "stfed.sealed.numpy",
    "pt": "stfed.sealed.torch",
    "torch": "stfed.sealed.torch",
    "pytorch": "stfed.sealed.torch",
}
_CLOSED = "File is closed"


class Framework(Protocol):
    """What numpy and torch do differently; each of the two modules has these two functions."""

    def check_device(self, device: str | int) -> None:
        """Refuses a device that the framework has not."""
        ...

    def to_tensor(self, data: memoryview, info: TensorInfo, shape: tuple[int, ...], device: str | int) -> Any:
        """A tensor of `shape` over `data`, which it may keep."""
        ...


def framework_named(name: str) -> Framework:
    """numpy or torch, imported now; LocalError for others."""
    try:
        module = _FRAMEWORKS[name]
    except KeyError:
        raise LocalError(f"framework {name!r} is not supported", hint="use 'np' or 'pt'") from None
    framework: Framework = importlib.import_module(module).FRAMEWORK
    return framework


class SafeOpen:
    """A sealed file whose tensors are read one by one. Use it in a `with` block: leaving it forgets keys and plaintext.

    Args:
        filename: the sealed file.
        framework: "np" or "pt".
        device: where torch tensors go; numpy has "cpu" alone.
        identity: secret key or keys: objects or paths of key files.

    Raises:
        FileNotFoundError: if there is no such file.
        NotARecipientError: if it is sealed to others.
        SealError: if it is no sealed file, or was changed.
    """

    def __init__(
        self, filename: PathLike, framework: str, device: str | int = "cpu", *, identity: IdentityLike | Iterable[IdentityLike]
    ) -> None:
        self._framework = framework_named(framework)
        self._framework.check_device(device)
        self._device = device
        self._reader: SealedReader | None = SealedReader(filename, identity)

    def __enter__(self) -> SafeOpen:
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

    def provenance(self) -> dict[str, str | int | float | bool | None]:
        """What the writer states about the content: unchanged since sealing, and nobody's signature under it."""
        return dict(self._open().outside.envelope.provenance)

    def get_tensor(self, name: str) -> Any:
        """A whole tensor; TensorError if there is none of that name."""
        return read_tensor(self._open(), self._info(name), self._framework, self._device)

    def get_tensors(self) -> dict[str, Any]:
        """All tensors, in one allocation that their views share."""
        return read_all(self._open(), self._framework, self._device)

    def get_slice(self, name: str) -> SafeSlice:
        """A tensor to be indexed, `f.get_slice("w")[2:4, :8]`; TensorError if there is none of that name."""
        info = self._info(name)
        return SafeSlice(self, info)

    def _info(self, name: str) -> TensorInfo:
        try:
            return self._open().header.tensors[name]
        except KeyError:
            raise TensorError(f"File does not contain tensor {name}") from None

    def _open(self) -> SealedReader:
        if self._reader is None:
            raise TensorError(_CLOSED)
        return self._reader


class SafeSlice:
    """A tensor that is read as far as it is indexed, with integers, slices and `...` as numpy takes them."""

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
        reader, info = self._file._open(), self._info
        picks = _complete(index, info.shape)
        whole = all(pick == slice(None) for pick in picks)
        if info.dtype.bits % 8 and not whole:
            raise TensorError(f"a tensor of {info.dtype.code} is not sliced: its elements share bytes", hint="read it whole")
        if whole or not picks:
            return read_tensor(reader, info, self._file._framework, self._file._device)
        begin, end, shape, rest = _rows(picks, info)
        tensor = self._file._framework.to_tensor(reader.read(info.begin + begin, info.begin + end), info, shape, self._file._device)
        return tensor[rest]


def read_tensor(reader: SealedReader, info: TensorInfo, framework: Framework, device: str | int) -> Any:
    """One tensor, in memory of its own."""
    return framework.to_tensor(reader.read(info.begin, info.end), info, info.shape, device)


def read_all(reader: SealedReader, framework: Framework, device: str | int) -> dict[str, Any]:
    """Every tensor: all segments at once, by several threads, into one piece of memory that the tensors share."""
    tensors = reader.header.tensors
    data = reader.read(0, max((info.end for info in tensors.values()), default=0))
    return {name: framework.to_tensor(data[info.begin : info.end], info, info.shape, device) for name, info in tensors.items()}


def _complete(index: Any, shape: tuple[int, ...]) -> list[int | slice]:
    """One pick a dimension, integers counted from the front; TensorError for what is no basic index or out of bounds."""
    given = list(index) if isinstance(index, tuple) else [index]
    if sum(pick is Ellipsis for pick in given) > 1:
        raise TensorError("an index has at most one '...'")
    if Ellipsis not in [pick for pick in given if pick is Ellipsis]:
        given.append(Ellipsis)
    at = next(place for place, pick in enumerate(given) if pick is Ellipsis)
    missing = len(shape) - (len(given) - 1)
    if missing < 0:
        raise TensorError(f"too many indices: {len(given) - 1} for a tensor of shape {list(shape)}")
    given[at : at + 1] = [slice(None)] * missing
    picks: list[int | slice] = []
    for dimension, (pick, length) in enumerate(zip(given, shape, strict=True)):
        if isinstance(pick, slice):
            picks.append(pick)
            continue
        try:
            place = operator.index(pick)
        except TypeError:
            raise TensorError("an index is made of integers, slices and '...'", hint="read the slice, then index the tensor") from None
        if isinstance(pick, bool) or not -length <= place < length:
            raise TensorError(f"Invalid index {pick} for dimension {dimension} of size {length}")
        picks.append(place % length)
    return picks


def _rows(picks: list[int | slice], info: TensorInfo) -> tuple[int, int, tuple[int, ...], tuple[Any, ...]]:
    """The byte range that holds everything picked, its shape, and the index that is left to apply to it.

    Leading integers fix one row each; the first slice gives a range of rows; everything after it lies inside those.
    """
    step_bytes, begin = info.end - info.begin, 0
    for dimension, pick in enumerate(picks):
        length = info.shape[dimension]
        step_bytes = step_bytes // length if length else 0
        if isinstance(pick, int):
            begin += pick * step_bytes
            continue
        rows = range(*pick.indices(length))
        low, high = (min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1) if rows else (0, 0)
        left = slice(None, None, pick.step) if rows else slice(0, 0)
        rest = (left, *picks[dimension + 1 :])
        return begin + low * step_bytes, begin + high * step_bytes, (high - low, *info.shape[dimension + 1 :]), rest
    return begin, begin + step_bytes, (), ()
