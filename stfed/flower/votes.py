"""Flower's adaptive clipping, which counts replies instead of averaging them.

Every party sends a metric `norm_bit`, 1 if its update had to be clipped, and the next norm follows from how many did. With uniform
weights the mean of a metric is the share of the parties, so the count is in the sum; the coordinator hands out that many ones. With other
weights it is not, and weighting it away (bit / weight) would leave a trace of the weight in the exact sum: `compatibility` refuses that.
"""

from __future__ import annotations

from collections.abc import Mapping

from stfed.errors import PeerError

VOTE = "norm_bit"
"""The metric of `flwr.clientapp.mod.adaptiveclipping_mod`."""
_TOLERANCE = 1e-3


def ones(metrics: Mapping[str, float], parties: int) -> int | None:
    """How many of the parties voted 1, out of the mean with uniform weights; None if they did not vote.

    Raises:
        PeerError: no such parties can have sent this sum.
    """
    if VOTE not in metrics:
        return None
    total = metrics[VOTE] * parties
    if not -_TOLERANCE <= total <= parties + _TOLERANCE or abs(total - round(total)) > _TOLERANCE:
        raise PeerError(f"the sum of {VOTE!r} is no count of {parties} votes, which no honest parties can produce")
    return round(total)
