"""Which tensors of a model share memory, and which of them a file keeps: the rules of safetensors, name for name.

A file holds each piece of memory once. `load_model` has to come to the same choice as whoever saved, safetensors itself included, so the
rules are followed to the letter: tensors belong together if they are on one device, in one storage, and their areas touch in order of
their beginnings; of those that cover the whole storage the first by name is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from stfed.errors import LocalError


class SharedMemoryError(LocalError, RuntimeError):
    """Tensors share memory, so that saved apart they would take more room and come back as strangers."""


class ModelMismatchError(LocalError, RuntimeError):
    """The file's tensors are not those of the model."""


def shared(tensors: Mapping[str, torch.Tensor]) -> list[list[str]]:
    """All names, those together whose tensors share memory. Tensors without memory, on the meta device or empty, are left out."""
    storages: dict[tuple[torch.device, int, int], list[str]] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        address, size_bytes = storage.data_ptr(), storage.nbytes()
        if address and size_bytes:
            storages.setdefault((tensor.device, address, size_bytes), []).append(name)
    return [group for names in storages.values() for group in _overlapping(names, tensors)]


def aliases(tensors: Mapping[str, torch.Tensor], preferred: Collection[str] = ()) -> dict[str, list[str]]:
    """By the name that is kept, the names of the tensors that share its memory and are left out.

    Args:
        tensors: a model's state.
        preferred: names that are kept if they can be: those that a file has.

    Raises:
        SharedMemoryError: if no tensor covers the whole of a storage, so that whichever is kept, memory is lost or saved in vain.
    """
    left_out: dict[str, list[str]] = {}
    for names in shared(tensors):
        whole = sorted(name for name in names if _covers_its_storage(tensors[name]))
        if not whole:
            raise SharedMemoryError(
                "Error while trying to find names to remove to save state dict, but found no suitable name to keep for saving amongst:"
                f" {sorted(names)}. None is covering the entire storage.",
                hint="call .clone() on them before saving, so that each has memory of its own",
            )
        kept = next((name for name in whole if name in preferred), whole[0])
        others = sorted(name for name in names if name != kept)
        if others:
            left_out[kept] = others
    return left_out


def _overlapping(names: list[str], tensors: Mapping[str, torch.Tensor]) -> list[list[str]]:
    """Tensors in one storage, those together that overlap. Each is compared with the one before it, even if an earlier one reaches on."""
    if len(names) == 1:
        return [names]
    areas = sorted((tensors[name].data_ptr(), _end(tensors[name]), name) for name in names)
    groups: list[list[str]] = []
    reached = 0
    for start, stop, name in areas:
        if groups and start < reached:
            groups[-1].append(name)
        else:
            groups.append([name])
        reached = stop
    return groups


def _end(tensor: torch.Tensor) -> int:
    """The address behind the last element."""
    if not tensor.numel():
        return tensor.data_ptr()
    steps = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr() + (steps + 1) * tensor.element_size()


def _covers_its_storage(tensor: torch.Tensor) -> bool:
    storage = tensor.untyped_storage()
    return tensor.data_ptr() == storage.data_ptr() and tensor.numel() * tensor.element_size() == storage.nbytes()
