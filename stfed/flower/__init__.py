"""Secure aggregation as Flower users know things: a strategy that wraps a strategy, and a mod.

from stfed.flower import SecureAggregation, secagg_mod

app = ClientApp(mods=[secagg_mod])                                   # client_app.py; the train function is unchanged
strategy = SecureAggregation(FedAvg(...))                            # server_app.py
strategy.start(grid, initial_arrays, num_rounds=10)
"""

from stfed.flower.grid import SecureGrid
from stfed.flower.mod import SecAggMod, secagg_mod
from stfed.flower.strategy import SecureAggregation

__all__ = ["SecAggMod", "SecureAggregation", "SecureGrid", "secagg_mod"]
