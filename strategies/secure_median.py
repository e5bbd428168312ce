"""The median of groups: a few malicious or broken parties cannot pull the model where they like, and nobody's update is seen.

The coordinate-wise median (Yin, Chen, Ramchandran, Bartlett, ICML 2018) compares updates, which a secure sum hides. So parties are drawn
into random groups of `group-size` or more, each group has its own secure sum, and the median is that of the groups' means. It holds while
most groups have nobody malicious in them; every group counts the same, whatever its weight.

Two numbers pull against each other: small groups bear more malicious parties, large ones hide a single party among more. With
`group-size` = 4 and `gamma` = 0.1 a group bears one drop; a group that loses more is left out of its round. docs/robust.md.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedMedian, Strategy

from stfed.flower import SecureAggregation
from strategies.settings import Config, secure


def inner(config: Config) -> Strategy:
    """Flower's FedMedian, as it would run without secure aggregation: over single parties."""
    return FedMedian(fraction_evaluate=float(config["fraction-evaluate"]), min_available_nodes=int(config["num-parties"]))


def build(config: Config) -> Strategy:
    """The same in secure rounds: over groups."""
    return SecureAggregation(inner(config), **secure(config))
