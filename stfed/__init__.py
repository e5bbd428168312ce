"""Secure aggregation for federated learning on Flower.

`stfed.flower` is the strategy and the client mod, `stfed.sealed` the encrypted tensor file, `stfed.encrypted` arithmetic on encrypted
tensors, `stfed.secagg` the protocol itself. `SafeTensorLibrary` is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.library import SafeTensorLibrary

__version__ = "0.1.0"
__all__ = ["SafeTensorLibrary", "__version__"]


if not TYPE_CHECKING:  # type checkers would take it for a promise that every name is there

    def __getattr__(name: str) -> object:
        if name != "SafeTensorLibrary":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.library"), name)
