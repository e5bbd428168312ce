"""Which strategies a secure round can serve, and why not where it cannot.

A secure round gives a strategy the weighted mean and nothing else. That is all an averaging strategy reads. A strategy that compares
replies with each other, or treats them one by one, would run without an error and compute something else: those are refused by name.
"""

from __future__ import annotations

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from stfed.errors import LocalError

_VOTES = "it compares the updates of single parties with each other, and a secure sum has none: it would silently return the plain mean"
_ONE_BY_ONE = "it clips the update of each party on the server, and the server sees none: it would clip the mean instead"

REFUSED: dict[type[Strategy], tuple[str, str]] = {
    flower.FedMedian: (_VOTES, "use an averaging strategy such as FedAvg"),
    flower.FedTrimmedAvg: (_VOTES, "use an averaging strategy such as FedAvg"),
    flower.Krum: (_VOTES, "use an averaging strategy such as FedAvg"),
    flower.MultiKrum: (_VOTES, "use an averaging strategy such as FedAvg"),
    flower.Bulyan: (_VOTES, "use an averaging strategy such as FedAvg"),
    flower.QFedAvg: (
        "it weights each update by that party's own loss, and a secure sum shows neither",
        "use an averaging strategy such as FedAvg",
    ),
    flower.FedXgbBagging: ("it collects trees, which are text and cannot be added", "secure aggregation is for models of numbers"),
    flower.FedXgbCyclic: ("it passes one party's trees to the next one, which is no sum", "secure aggregation is for models of numbers"),
    flower.DifferentialPrivacyServerSideFixedClipping: (
        _ONE_BY_ONE,
        "use DifferentialPrivacyClientSideFixedClipping and fixedclipping_mod",
    ),
    flower.DifferentialPrivacyServerSideAdaptiveClipping: (
        _ONE_BY_ONE,
        "use DifferentialPrivacyClientSideAdaptiveClipping and adaptiveclipping_mod",
    ),
}


def layers(strategy: Strategy) -> list[Strategy]:
    """The strategy and what it wraps, outermost first (Flower's wrappers keep the inner one in `strategy`)."""
    found = [strategy]
    while isinstance(inner := getattr(found[-1], "strategy", None), Strategy) and inner not in found:
        found.append(inner)
    return found


def check(strategy: Strategy, *, uniform: bool = False) -> None:
    """Refuses a strategy that would be silently wrong over a secure mean.

    Args:
        strategy: the one to wrap.
        uniform: whether every party weighs the same.

    Raises:
        LocalError: with the reason and what to use instead.
    """
    if not isinstance(strategy, Strategy):
        raise LocalError(f"SecureAggregation wraps a Flower strategy, not a {type(strategy).__name__}", hint="SecureAggregation(FedAvg())")
    for layer in layers(strategy):
        if isinstance(layer, flower.DifferentialPrivacyClientSideAdaptiveClipping) and not uniform:
            raise LocalError(
                f"{type(layer).__name__} counts the parties that had to clip, and a sum weighted by examples has no such count",
                hint="set uniform=True",
            )
        for refused, (reason, instead) in REFUSED.items():
            if isinstance(layer, refused):
                raise LocalError(f"{type(layer).__name__} cannot run on a secure sum: {reason}", hint=instead)
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
