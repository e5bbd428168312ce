"""FedAdam over secure sums: a server optimiser smooths the mean updates of parties that differ a lot.

FedAdam (Reddi et al., ICLR 2021) takes the mean model, forms the pseudo-gradient and steps with Adam on the coordinator. It reads nothing
but the mean, so it runs on secure sums unchanged. `tau` is larger than Flower's default because updates of a small model are small.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedAdam, Strategy

from stfed.flower import SecureAggregation
from strategies.settings import Config, secure

ETA = 0.03  # server learning rate: a third of Flower's default, for ten rounds on a small model
TAU = 1e-2  # adaptivity: the floor under the second moment


def inner(config: Config) -> Strategy:
    """Flower's FedAdam, as it would run without secure aggregation."""
    return FedAdam(fraction_evaluate=float(config["fraction-evaluate"]), min_available_nodes=int(config["num-parties"]), eta=ETA, tau=TAU)


def build(config: Config) -> Strategy:
    """The same in secure rounds."""
    return SecureAggregation(inner(config), **secure(config))
