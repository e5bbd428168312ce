"""Encrypted tensors made by hand, and a SEAL that must not be asked to read anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import ArrayLike

from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.layout import Layout
from stfed.encrypted.tensor import EncryptedTensor


def made(context: EvaluationContext, values: ArrayLike, *, left: int | None = None, block: int | None = None) -> EncryptedTensor:
    """Numbers up to 16, fresh or with fewer multiplications left."""
    array = np.asarray(values, np.float64)
    layout = Layout.of(array.shape, context.parameters.slots)
    if block is not None:
        layout = Layout(array.shape, context.parameters.slots, block)
    arithmetic, left = context.arithmetic, context.parameters.depth if left is None else left
    ciphertexts = tuple(arithmetic.drop(arithmetic.encrypt(slots), left) for slots in layout.spread(array))
    return EncryptedTensor(context, layout, ciphertexts, 16.0, 1e-5)


@contextmanager
def nothing_loaded() -> Iterator[None]:
    """Fails the test if SEAL is given anything to read."""

    def load(kind: str, *_: Any) -> None:
        raise AssertionError(f"SEAL was given a {kind} to read")

    with patch("stfed.encrypted.words.load", load), patch("stfed.encrypted.context.load", load):
        yield
