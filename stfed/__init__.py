"""Secure aggregation for federated learning on Flower.

`stfed.flower` is the strategy and the client mod, `stfed.sealed` the encrypted tensor file, `stfed.secagg` the protocol itself.
"""

__version__ = "0.1.0"
