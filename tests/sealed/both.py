"""Stock safetensors and the sealed verbs behind the same names, so that one call can be made on both and compared."""

import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

import stfed.sealed.numpy
import stfed.sealed.torch

from .material import keypair

IDENTITY, RECIPIENT = keypair("both")
_WRITING, _READING = ("save", "save_file", "save_model"), ("load", "load_file", "load_model")


def plain(framework: str) -> types.SimpleNamespace:
    """safetensors.numpy or safetensors.torch, and safe_open."""
    module = safetensors.numpy if framework == "np" else safetensors.torch
    verbs = {name: getattr(module, name) for name in (*_WRITING, *_READING) if hasattr(module, name)}
    return types.SimpleNamespace(**verbs, safe_open=safetensors.safe_open)


def sealed(framework: str) -> types.SimpleNamespace:
    """The sealed verbs, with keys."""
    module = stfed.sealed.numpy if framework == "np" else stfed.sealed.torch
    verbs = {name: partial(getattr(module, name), recipients=RECIPIENT) for name in _WRITING if hasattr(module, name)}
    verbs |= {name: partial(getattr(module, name), identity=IDENTITY) for name in _READING if hasattr(module, name)}
    return types.SimpleNamespace(**verbs, safe_open=partial(module.safe_open, identity=IDENTITY))


def form(value: Any) -> Any:
    """A result as something that compares: tensors by type, shape and bytes."""
    if isinstance(value, np.ndarray):
        return "array", value.dtype.newbyteorder("=").str, value.shape, np.ascontiguousarray(value).tobytes()
    if isinstance(value, torch.Tensor):
        flat = value.detach().resolve_conj().contiguous().cpu().reshape(-1)
        return "tensor", str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    return [form(item) for item in value] if isinstance(value, list | tuple) else value


def outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a call gives, or the error that it raises."""
    try:
        return form(call()), None
    except Exception as error:
        return None, error
