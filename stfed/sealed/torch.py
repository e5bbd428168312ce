"""The verbs of `safetensors.torch`, with keys: `save_file`, `load_file`, `save`, `load`, `save_model`, `load_model`, `safe_open`.

As `stfed.sealed.numpy`, for torch tensors, bfloat16 and the 8- and 4-bit floats included. Like safetensors it refuses sparse tensors,
tensors that are not contiguous, and tensors that share memory; `save_model` keeps one of those and notes the others in the metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import torch

from stfed.keys.keyfile import PathLike
from stfed.sealed.inner import checked_metadata
from stfed.sealed.lazy import SafeOpen, check_backend, content, file_name, read_all
from stfed.sealed.models import ModelMismatchError, SharedMemoryError, aliases
from stfed.sealed.options import OpenOptions, SealOptions
from stfed.sealed.reader import SealedReader
from stfed.sealed.torch_tensors import FRAMEWORK, check, plaintext
from stfed.sealed.writer import seal_to_bytes, seal_to_path

__all__ = [
    "ModelMismatchError",
    "SharedMemoryError",
    "load",
    "load_file",
    "load_model",
    "safe_open",
    "save",
    "save_file",
    "save_model",
]


def save_file(
    tensors: Mapping[str, torch.Tensor],
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    **options: Unpack[SealOptions],
) -> None:
    """Seals tensors into a file that only `recipients` can read, as `stfed.sealed.numpy.save_file` does.

    Args:
        tensors: dense, contiguous tensors by name, none of which share memory. Those on other devices are copied to the CPU.
        filename: a sealed file is by itself a valid safetensors file and may be called so.
        metadata: text to save with the tensors; sealed like them.
        options: `recipients=` or `passphrase=`, and `signer=`, `provenance=`, `policy=` and the rest of `SealOptions`.

    Raises:
        LocalError: as there, and for a sparse or non-contiguous tensor.
        SharedMemoryError: for tensors that share memory.
    """
    seal_to_path(plaintext(tensors, metadata), file_name(filename), **options)


def save(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None, **options: Unpack[SealOptions]) -> bytes:
    """The sealed file as bytes; arguments and errors as in `save_file`."""
    return seal_to_bytes(plaintext(tensors, metadata), **options)


def save_model(
    model: torch.nn.Module,
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    force_contiguous: bool = True,
    **options: Unpack[SealOptions],
) -> None:
    """Seals a model's state. Of tensors that share memory one is saved; the metadata say of the others which one stands for them.

    Args:
        model: the model.
        filename: the sealed file.
        metadata: text to save with the tensors; entries of its own win over those about shared tensors.
        force_contiguous: saves tensors that are not contiguous as if they were.
        options: as in `save_file`.

    Raises:
        LocalError, SharedMemoryError: as `save_file`, and if no tensor covers the whole of a piece of shared memory.
    """
    tensors: dict[str, torch.Tensor] = dict(model.state_dict())
    stated = None if metadata is None else checked_metadata(metadata)
    check(tensors)
    for kept, others in aliases(tensors).items():
        stated = {} if stated is None else stated
        for other in others:
            stated.setdefault(other, kept)
            del tensors[other]
    if force_contiguous:
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    seal_to_path(plaintext(tensors, stated, otherwise="use save_model(..., force_contiguous=True)"), file_name(filename), **options)


def load_file(
    filename: PathLike, device: str | int | None = "cpu", *, backend: str = "mmap", **options: Unpack[OpenOptions]
) -> dict[str, torch.Tensor]:
    """Opens a sealed file and returns all its tensors on `device`, every byte verified. On the CPU they are views of one allocation.

    Args:
        filename: the sealed file.
        device: as torch names it; None is the CPU.
        backend: "mmap" or "pread", as safetensors has it. It makes no difference: ciphertext is always copied to private memory before it
            is verified, so that nobody can change it in between.
        options: `identity=` or `passphrase=`, and `trusted=`, `purpose=` and the rest of `OpenOptions`.

    Raises:
        FileNotFoundError: if there is no such file.
        NotARecipientError: if it is sealed to others.
        SealError: if it is no sealed file, or was changed, or the options do not allow to open it.
    """
    check_backend(backend)
    device = "cpu" if device is None else device
    FRAMEWORK.check_device(device)
    with SealedReader(file_name(filename), **options) as reader:
        return read_all(reader, FRAMEWORK, device)


def load(data: bytes, **options: Unpack[OpenOptions]) -> dict[str, torch.Tensor]:
    """The tensors of a sealed file in memory; options and errors as in `load_file`."""
    with SealedReader(content(data), **options) as reader:
        return read_all(reader, FRAMEWORK, "cpu")


def load_model(
    model: torch.nn.Module,
    filename: PathLike,
    strict: bool = True,
    device: str | int | None = "cpu",
    *,
    backend: str = "mmap",
    **options: Unpack[OpenOptions],
) -> tuple[set[str], list[str]]:
    """Loads a sealed file into a model. Tensors that the model shares need to be in the file once.

    Args:
        model: takes the tensors; also before a mismatch is refused.
        filename: the sealed file.
        strict: refuses a file that lacks tensors of the model or has others.
        device: where the tensors go on their way into the model.
        backend: makes no difference, as in `load_file`.
        options: as in `load_file`.

    Returns:
        The model's names that the file lacks, and the file's names that the model lacks.

    Raises:
        ModelMismatchError: if there are any, and `strict` is set.
        SealError: as `load_file`.
    """
    tensors = load_file(filename, device=device, backend=backend, **options)
    left_out = aliases(model.state_dict(), preferred=tensors.keys())
    found = model.load_state_dict(tensors, strict=False)
    missing, unexpected = set(found.missing_keys), list(found.unexpected_keys)
    for name in (name for others in left_out.values() for name in others):
        if name in missing:
            missing.remove(name)
        else:
            unexpected.append(name)
    if strict and (missing or unexpected):
        lines = [f"Error(s) in loading state_dict for {type(model).__name__}:"]
        for what, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                quoted = ", ".join(f'"{name}"' for name in sorted(names))
                lines.append(f"{what} key(s) in state_dict: {quoted}")
        raise ModelMismatchError("\n    ".join(lines))
    return missing, unexpected


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
        device: str | int | None = "cpu",
        *,
        backend: str = "mmap",
        **options: Unpack[OpenOptions],
    ) -> None:
        super().__init__(filename, framework, device, backend=backend, **options)
