"""Files that are not encrypted: safetensors with numpy and with torch, and torch's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import safetensors
import safetensors.numpy

from benchmarks.files.contender import Contender, Kind, UnavailableError
from benchmarks.files.workload import Tensors

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]
else:
    import safetensors.torch


class SafetensorsNumpy(Contender):
    """What the targets for saving and loading are measured against."""

    name, kind = "safetensors numpy", Kind.PLAIN

    def save(self, prepared: Any, path: Path) -> None:
        safetensors.numpy.save_file(prepared, path)

    def load(self, path: Path) -> Mapping[str, Any]:
        return safetensors.numpy.load_file(path)

    def tensor(self, path: Path, name: str) -> Any:
        with safetensors.safe_open(path, framework="np") as file:
            return file.get_tensor(name)

    def row(self, path: Path, name: str, index: int) -> Any:
        with safetensors.safe_open(path, framework="np") as file:
            return file.get_slice(name)[index : index + 1][0]


class TorchContender(Contender):
    """Whatever takes torch tensors; here they share the memory of the numpy arrays."""

    def __init__(self) -> None:
        if torch is None:
            raise UnavailableError("torch is not installed")

    def prepare(self, tensors: Tensors) -> Any:
        return {name: torch.from_numpy(array) for name, array in tensors.items()}


class SafetensorsTorch(TorchContender):
    """Maps the file: without a look at every page, loading would be the promise to do it later."""

    name, kind = "safetensors torch", Kind.PLAIN

    def save(self, prepared: Any, path: Path) -> None:
        safetensors.torch.save_file(prepared, path)

    def load(self, path: Path) -> Mapping[str, Any]:
        tensors = safetensors.torch.load_file(path)
        touch(tensors)
        return tensors

    def tensor(self, path: Path, name: str) -> Any:
        with safetensors.safe_open(path, framework="pt") as file:
            tensor = file.get_tensor(name)
        touch({name: tensor})
        return tensor

    def row(self, path: Path, name: str, index: int) -> Any:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.get_slice(name)[index].clone()


class TorchPickle(TorchContender):
    """`torch.save` and `torch.load`; single tensors through its memory map."""

    name: ClassVar[str] = "torch.save"
    kind: ClassVar[Kind] = Kind.PLAIN

    def save(self, prepared: Any, path: Path) -> None:
        torch.save(prepared, path)

    def load(self, path: Path) -> Mapping[str, Any]:
        tensors: Mapping[str, Any] = torch.load(path, weights_only=True)
        return tensors

    def tensor(self, path: Path, name: str) -> Any:
        return torch.load(path, weights_only=True, mmap=True)[name].clone()

    def row(self, path: Path, name: str, index: int) -> Any:
        return torch.load(path, weights_only=True, mmap=True)[name][index].clone()


def touch(tensors: Mapping[str, Any]) -> int:
    """Reads a byte of every page of every storage, once however many tensors lie in it."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors.values()}
    octets = (torch.tensor([], dtype=torch.uint8).set_(storage) for storage in storages.values())
    return sum(int(flat[::4096].sum()) for flat in octets)
