"""MultiKrum over the means of groups: the groups that lie closest together are averaged, the others are left out.

MultiKrum (Blanchard, El Mhamdi, Guerraoui, Stainer, NeurIPS 2017) scores each update by its distances to its nearest neighbours, and
averages the best. Over secure sums the updates are the means of random groups of `group-size` or more. With f groups that somebody
malicious is in (`malicious-groups`), 2 f + 3 groups are needed, and n - f - 2 of them may be selected.

Against the median: it keeps whole updates together, so where nobody is malicious the model is a plain mean of most parties. With more than
f malicious groups it promises nothing.
"""

from __future__ import annotations

from flwr.serverapp.strategy import MultiKrum, Strategy

from stfed.flower import SecureAggregation
from strategies.settings import Config, secure


def multikrum(config: Config, replies: int, malicious: int) -> Strategy:
    """Flower's MultiKrum for so many replies a round."""
    return MultiKrum(
        fraction_evaluate=float(config["fraction-evaluate"]),
        min_available_nodes=int(config["num-parties"]),
        num_malicious_nodes=malicious,
        num_nodes_to_select=max(1, replies - malicious - 2),
    )


def inner(config: Config) -> Strategy:
    """As it would run without secure aggregation: over single parties, as many malicious ones as there would be malicious groups."""
    return multikrum(config, int(config["num-parties"]), int(config["malicious-groups"]))


def build(config: Config) -> Strategy:
    """The same in secure rounds: over groups."""
    groups = int(config["num-parties"]) // int(config["group-size"])
    return SecureAggregation(multikrum(config, groups, int(config["malicious-groups"])), **secure(config))
