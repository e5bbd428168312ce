"""fieldnotes: the base model, which everybody has before the start: pre-trained on public text, with the frozen half A of the adapters.

    python -m fieldnotes.base FILE [STEPS]

Adapters fit the model that they were trained on and no other, so whoever loads the file can say which one it has to be, by its SHA-256.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load, save_file

from stfed.errors import LocalError

from .lora import adapt
from .model import Transformer
from .task import RANK, create_adapted, create_model, fit
from .text import public_text

STEPS, BATCH_SIZE, RATE, SEED = 2000, 8, 1e-2, 42


def make_base(path: Path, steps: int = STEPS) -> None:
    """Pre-trains a model on the public text, puts adapters that change nothing on it, and saves all of it."""
    torch.manual_seed(SEED)
    model = create_model()
    warm = steps // 10 + 1
    rates = [RATE * min((step + 1) / warm, (steps - step) / (steps - warm + 1)) for step in range(steps)]
    fit(model, [public_text()[0]], rates, BATCH_SIZE, SEED)
    save_file(adapt(model, RANK).state_dict(), path)


def load_base(path: str | Path, sha256: str = "") -> Transformer:
    """The adapted model from a file.

    Raises:
        LocalError: there is none, or another than the one with this SHA-256.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LocalError(f"the base model cannot be read: {error}", hint="python -m fieldnotes.base FILE makes one") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise LocalError(f"{path} is not the base model that this run adapts", hint="get the file with the SHA-256 " + sha256)
    model = create_adapted()
    model.load_state_dict(load(data))
    return model


def sha256_of(path: str | Path) -> str:
    """Which base model a file has, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


if __name__ == "__main__":
    make_base(Path(sys.argv[1]), *map(int, sys.argv[2:]))
