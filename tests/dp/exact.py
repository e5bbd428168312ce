"""Skellam probabilities and Rényi divergences summed term by term: what the bounds of `stfed.dp` are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Logs = NDArray[np.float64]


def log_skellam(variance: float, reach: int) -> Logs:
    """ln P(Z = k) for k = -reach .. reach, Z symmetric Skellam: P(Z = k) = exp(-mu) I_|k|(mu).

    The ratios I_k / I_(k-1) by the downward recurrence (Miller), which is stable; the sum over all k is 1.
    """
    ratio, ratios = 0.0, np.empty(reach)
    for k in range(reach + 500, 0, -1):
        ratio = 1.0 / (2 * k / variance + ratio)
        if k <= reach:
            ratios[k - 1] = ratio
    half = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    whole = np.concatenate([half[:0:-1], half])
    return whole - log_sum(whole)


def log_sum(logs: Logs) -> float:
    """ln of the sum of the exponentials."""
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum()))


def divergence(log_p: Logs, log_q: Logs, order: int) -> float:
    """D_order(P || Q) of two distributions on the same points, in nats."""
    return log_sum(order * log_p - (order - 1) * log_q) / (order - 1)


def shifted(log_p: Logs, shift: int) -> tuple[Logs, Logs]:
    """P moved up by `shift`, and P, on the points that both arrays reach."""
    return log_p[: log_p.size - shift], log_p[shift:]
