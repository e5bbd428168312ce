"""Secure aggregation as Flower users know things: a strategy that wraps a strategy, and a mod.

from stfed.flower import SecureAggregation, secagg_mod

app = ClientApp(mods=[secagg_mod])                                   # client_app.py; the train function is unchanged
strategy = SecureAggregation(FedAvg(...))                            # server_app.py
strategy.start(grid, initial_arrays, num_rounds=10)

The coordinator's half is loaded when it is asked for: in a deployment every message starts a process on the party's side.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# Flower's simulation loads a ServerApp and a ClientApp in two threads of one process. Where one thread imports a package and the other a
# module of it, each can wait for the other, and Python then gives one of them a half-made module. So whatever both need is loaded here,
# where the second thread waits for the first.
import stfed.encoding
import stfed.keys
import stfed.secagg.client
import stfed.secagg.messages
import stfed.secagg.server  # noqa: F401

if TYPE_CHECKING:
    from stfed.flower.clipping import AdaptiveClip
    from stfed.flower.device import device_arrays
    from stfed.flower.dp import AdaptiveClipping, DistributedDp
    from stfed.flower.grid import SecureGrid
    from stfed.flower.mod import SecAggMod, secagg_mod
    from stfed.flower.partial import Shared
    from stfed.flower.strategy import SecureAggregation

_WHERE = {
    "AdaptiveClip": "clipping",
    "AdaptiveClipping": "dp",
    "DistributedDp": "dp",
    "SecAggMod": "mod",
    "SecureAggregation": "strategy",
    "SecureGrid": "grid",
    "Shared": "partial",
    "device_arrays": "device",
    "secagg_mod": "mod",
}

__all__ = [
    "AdaptiveClip",
    "AdaptiveClipping",
    "DistributedDp",
    "SecAggMod",
    "SecureAggregation",
    "SecureGrid",
    "Shared",
    "device_arrays",
    "secagg_mod",
]


if not TYPE_CHECKING:  # type checkers would take it for a promise that every name is there

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
