"""Sealing and opening a model beside saving and loading the same one in the clear, in one folder and in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file as load_plain
from safetensors.numpy import save_file as save_plain

from stfed.keys import generate_keypair
from stfed.sealed.numpy import load_file, save_file

_TRIES = 3
_TENSOR = 1 << 20
"""Parameters of one tensor, but for the last: a model is some tensors, not one."""


@dataclass(frozen=True, slots=True)
class FileTimes:
    """Seconds on the clock, the least of a few; files are read from the page cache, where they were just written.

    Attributes:
        size_bytes: of the tensors.
        sealed_bytes: of the sealed file.
        save_s: to a plain file, with safetensors.
        seal_s: to a sealed one, for one recipient with the default, hybrid key.
        load_s: from the plain one.
        open_s: from the sealed one, every byte checked.
    """

    size_bytes: int
    sealed_bytes: int
    save_s: float
    seal_s: float
    load_s: float
    open_s: float


def measure(parameters: int, folder: Path) -> FileTimes:
    """Of a float32 model, in an empty folder. What is opened is compared with what was sealed.

    Raises:
        OSError: there is no room in the folder.
    """
    generator = np.random.default_rng(0)
    starts = range(0, parameters, _TENSOR)
    model = {f"layer.{at // _TENSOR}": generator.standard_normal(min(_TENSOR, parameters - at), np.float32) for at in starts}
    identity, recipient = generate_keypair()
    plain, sealed = folder / "plain.safetensors", folder / "sealed.safetensors"
    best = [float("inf")] * 4
    for _ in range(_TRIES):
        calls: tuple[Callable[[], object], ...] = (
            lambda: save_plain(model, plain),
            lambda: save_file(model, sealed, recipients=[recipient]),
            lambda: load_plain(plain),
            lambda: load_file(sealed, identity=identity),
        )
        best = [min(least, _seconds(call)) for least, call in zip(best, calls, strict=True)]
    opened = load_file(sealed, identity=identity)
    assert all(np.array_equal(opened[name], array) for name, array in model.items()), "what was opened is not what was sealed"
    return FileTimes(4 * parameters, sealed.stat().st_size, *best)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
