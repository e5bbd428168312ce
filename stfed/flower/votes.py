"""One vote a party inside a sum that weights everything by examples.

Flower's adaptive clipping counts replies: every party sends a metric `norm_bit`, 1 if its update had to be clipped, and the next norm
follows from how many were, whatever their weights. In a secure sum a metric counts times the weight w of its party. So a party sends
bit / w; then the weighted mean times the total weight is the count, and the coordinator hands out that many ones.

A metric is exact to 2^-31, so the total is off by less than total weight / 2^31 and rounds to the exact count while the total weight is
at most `MAX_TOTAL_WEIGHT`.
"""

from __future__ import annotations

from collections.abc import Mapping

from stfed.encoding import EncodingPlan
from stfed.encoding.plan import WEIGHT_FRACTION_BITS
from stfed.errors import LocalError, PeerError

VOTE = "norm_bit"
"""The metric of `flwr.clientapp.mod.adaptiveclipping_mod`."""
MAX_TOTAL_WEIGHT = 1 << 29
_TOLERANCE = 0.3


def cast(metrics: Mapping[str, object], weight: object, plan: EncodingPlan) -> dict[str, object]:
    """A party's metrics with its vote, if there is one, divided by its weight.

    Raises:
        LocalError: a vote that is neither 0 nor 1, or of a party without weight.
    """
    if VOTE not in metrics:
        return dict(metrics)
    vote, (units, _) = metrics[VOTE], plan.weight_units(weight)
    if not isinstance(vote, int | float) or vote not in (0, 1):
        raise LocalError(f"metric {VOTE!r} must be 0 or 1: it is the vote of Flower's adaptive clipping")
    if not units:
        raise LocalError(f"a party without weight cannot vote: its {plan.weight_key!r} is zero, so its {VOTE!r} would not count")
    return {**metrics, VOTE: float(vote) * (1 << WEIGHT_FRACTION_BITS) / units}


def counted(metrics: Mapping[str, float], total_weight: float, parties: int) -> dict[str, float]:
    """The mean metrics, with the share of the parties that voted 1 in the place of the weighted mean of the votes.

    Raises:
        LocalError: the total weight is too large to count exactly.
        PeerError: no such parties can have sent this sum.
    """
    if VOTE not in metrics:
        return dict(metrics)
    if total_weight > MAX_TOTAL_WEIGHT:
        raise LocalError(f"the total weight is over {MAX_TOTAL_WEIGHT}, too much to count {VOTE!r} exactly", hint="lower max_weight")
    total = metrics[VOTE] * total_weight
    ones = round(total)
    if not 0 <= ones <= parties or abs(total - ones) > _TOLERANCE:
        raise PeerError(f"the sum of {VOTE!r} is no count of {parties} votes, which no honest parties can produce")
    return {**metrics, VOTE: ones / parties}


def ones(metrics: Mapping[str, float], parties: int) -> int | None:
    """How many of the parties voted 1, out of counted metrics; None if they did not vote."""
    return round(metrics[VOTE] * parties) if VOTE in metrics else None
