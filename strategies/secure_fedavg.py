"""Federated averaging over secure sums: the place to start.

FedAvg (McMahan et al., AISTATS 2017) needs only the weighted mean, which is what a secure sum gives. `clip` is the one setting to think
about: the largest change of one weight in one round. Too small cuts updates (the coordinator warns), too large costs precision, which with
32 bits hardly matters. With `value-bits` it decides: docs/precision.md.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedAvg, Strategy

from stfed.flower import SecureAggregation
from strategies.settings import Config, secure


def inner(config: Config) -> Strategy:
    """Flower's FedAvg, as it would run without secure aggregation."""
    return FedAvg(fraction_evaluate=float(config["fraction-evaluate"]), min_available_nodes=int(config["num-parties"]))


def build(config: Config) -> Strategy:
    """The same in secure rounds."""
    return SecureAggregation(inner(config), **secure(config))
