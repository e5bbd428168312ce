"""FedProx over secure sums: parties that train long on data of their own are held near the common model.

FedProx (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, MLSys 2020) is FedAvg on the coordinator. What is new is in the train function: the
objective has mu / 2 times the squared distance from the model that came. Flower's strategy sends mu as `proximal-mu` in the config of every
message; the config is in the transcript, so all parties of a round are told the same mu, or their masks do not cancel.

mu = 0 is FedAvg. 0.01 to 1 is what the paper tries: more where parties differ more, or train longer.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedProx, Strategy

from stfed.flower import SecureAggregation
from strategies.settings import Config, secure


def inner(config: Config) -> Strategy:
    """Flower's FedProx, as it would run without secure aggregation."""
    return FedProx(
        fraction_evaluate=float(config["fraction-evaluate"]),
        min_available_nodes=int(config["num-parties"]),
        proximal_mu=float(config["proximal-mu"]),
    )


def build(config: Config) -> Strategy:
    """The same in secure rounds."""
    return SecureAggregation(inner(config), **secure(config))
