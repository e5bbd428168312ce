"""Which strategies a secure round can serve, and why not where it cannot.

A secure round gives a strategy the weighted mean and nothing else. That is all an averaging strategy reads. A strategy that compares
replies with each other runs on the means of groups, if there are enough of them (ADR 0026). One that treats replies one by one would run
without an error and compute something else: those are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from stfed.errors import LocalError

_VOTES = "it compares the updates of single parties with each other, and a secure sum has none: it would silently return the plain mean"
_IN_GROUPS = "set group_size: it then compares the means of groups of parties, each a secure sum"
_CLIENT_SIDE = flower.DifferentialPrivacyClientSideFixedClipping, flower.DifferentialPrivacyClientSideAdaptiveClipping
_ONE_BY_ONE = "it clips the update of each party on the server, and the server sees none: it would clip the mean instead"

REFUSED: dict[type[Strategy], tuple[str, str]] = {
    flower.QFedAvg: (
        "it weights each update by that party's own loss, and a secure sum shows neither",
        "use an averaging strategy such as FedAvg",
    ),
    flower.FedXgbBagging: ("it collects trees, which are text and cannot be added", "secure aggregation is for models of numbers"),
    flower.FedXgbCyclic: ("it passes one party's trees to the next one, which is no sum", "secure aggregation is for models of numbers"),
    flower.DifferentialPrivacyServerSideFixedClipping: (
        _ONE_BY_ONE,
        "use dp=DistributedDp(...), or DifferentialPrivacyClientSideFixedClipping and fixedclipping_mod",
    ),
    flower.DifferentialPrivacyServerSideAdaptiveClipping: (
        _ONE_BY_ONE,
        "use dp=DistributedDp(...), or DifferentialPrivacyClientSideAdaptiveClipping and adaptiveclipping_mod",
    ),
}


VOTING: dict[type[Strategy], Callable[[Any], int]] = {
    flower.FedMedian: lambda strategy: 3,  # of two, the median is the mean
    flower.FedTrimmedAvg: lambda strategy: _trimming(strategy.beta),
    flower.MultiKrum: lambda strategy: 2 * strategy.num_malicious_nodes + 3,
    flower.Bulyan: lambda strategy: 4 * strategy.num_malicious_nodes + 3,
}
"""Strategies that compare updates, and from how many replies on each does what its paper says: Krum (Blanchard et al., NeurIPS 2017) from
2f + 3, Bulyan (El Mhamdi et al., ICML 2018) from 4f + 3. With groups, f counts groups that somebody malicious is in."""


def _trimming(beta: float) -> int:
    """The fewest replies of which Flower's trimmed mean cuts any: it cuts int(beta n) at each end."""
    return next((n for n in range(3, 1 << 16) if int(beta * n)), 1 << 16) if beta else 2


def layers(strategy: Strategy) -> list[Strategy]:
    """The strategy and what it wraps, outermost first (Flower's wrappers keep the inner one in `strategy`)."""
    found = [strategy]
    while isinstance(inner := getattr(found[-1], "strategy", None), Strategy) and inner not in found:
        found.append(inner)
    return found


def check(strategy: Strategy, *, uniform: bool = False, groups: bool = False) -> None:
    """Refuses a strategy that would be silently wrong over a secure mean.

    Args:
        strategy: the one to wrap.
        uniform: whether every party weighs the same.
        groups: whether a training is cut into groups.

    Raises:
        LocalError: with the reason and what to use instead.
    """
    if not isinstance(strategy, Strategy):
        raise LocalError(f"SecureAggregation wraps a Flower strategy, not a {type(strategy).__name__}", hint="SecureAggregation(FedAvg())")
    for layer in layers(strategy):
        if groups and isinstance(layer, _CLIENT_SIDE):
            raise LocalError(
                f"{type(layer).__name__} makes its noise for the mean of single replies, and with groups there is one reply for each group",
                hint="leave group_size out, or use dp=DistributedDp(...) instead of the wrapper",
            )
        if isinstance(layer, flower.DifferentialPrivacyClientSideAdaptiveClipping) and not uniform:
            raise LocalError(
                f"{type(layer).__name__} counts the parties that had to clip, and a sum weighted by examples has no such count",
                hint="set uniform=True",
            )
        for refused, (reason, instead) in REFUSED.items():
            if isinstance(layer, refused):
                raise LocalError(f"{type(layer).__name__} cannot run on a secure sum: {reason}", hint=instead)
        if isinstance(layer, tuple(VOTING)) and not groups:
            raise LocalError(f"{type(layer).__name__} cannot run on a secure sum: {_VOTES}", hint=_IN_GROUPS)
        if getattr(layer, "accountant", None) is not None and not uniform:
            raise LocalError(
                f"the accountant of {type(layer).__name__} holds only if all parties weigh the same, which a secure sum does not show it",
                hint="set uniform=True",
            )


def weight_key(strategy: Strategy) -> str:
    """The metric that weights a party, from the innermost strategy that names one; Flower's default otherwise."""
    for layer in reversed(layers(strategy)):
        if isinstance(key := getattr(layer, "weighted_by_key", None), str):
            return key
    return "num-examples"


def evaluates(strategy: Strategy) -> bool | None:
    """Whether the strategy has the parties evaluate after training; None if it does not say."""
    fractions = (getattr(layer, "fraction_evaluate", None) for layer in reversed(layers(strategy)))
    return next((fraction > 0 for fraction in fractions if isinstance(fraction, int | float)), None)


def least_groups(strategy: Strategy) -> int:
    """How many groups the strategy needs: 1 if it averages."""
    needs = (need(layer) for layer in layers(strategy) for kind, need in VOTING.items() if isinstance(layer, kind))
    return max(needs, default=1)
