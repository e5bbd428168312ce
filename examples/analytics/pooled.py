"""analytics: what NumPy says of all rows in one place, which only a demo can have, and whether an answer is that."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def rows() -> dict[str, NDArray[Any]]:
    """All rows. The survey is an app of its own, with its own place on the path."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        from survey.data import everything
    finally:
        sys.path.pop(0)
    return everything()


def quartiles(name: str) -> tuple[float, float, list[float]]:
    """Mean, sample deviation and quartiles of a column."""
    x = rows()[name]
    return float(x.mean()), float(x.std(ddof=1)), [float(value) for value in np.quantile(x, (0.25, 0.5, 0.75), method="inverted_cdf")]


def differences(answer: dict[str, Any]) -> Iterator[str]:
    """Where an answer is not what the pooled rows say, each in words."""
    match answer["result"]:
        case "VarianceOf":
            x = rows()[answer["column"]]
            yield from _further(f"mean {answer['column']}", answer["mean"], x.mean(), answer["error"])
            yield from _further(f"variance of {answer['column']}", answer["variance"], x.var(ddof=1), answer["variance_error"])
        case "QuantilesOf":
            for share, value in answer["quantiles"].items():
                wanted = np.quantile(rows()[answer["column"]], float(share), method="inverted_cdf")
                yield from _further(f"quantile {share} of {answer['column']}", value, wanted, answer["error"])
        case "HistogramOf":
            yield from _other("histogram", answer["counts"], np.histogram(rows()[answer["column"]], answer["edges"])[0].tolist())
        case "FrequenciesOf":
            found = {label: count for label, count in answer["counts"].items() if count}
            yield from _other("frequencies", found, dict(Counter(rows()[answer["column"]].tolist())))
        case "CovarianceOf":
            wanted = np.cov(np.stack([rows()[name] for name in answer["columns"]]))
            if np.any(np.abs(np.array(answer["covariance"]) - wanted) > np.array(answer["errors"])):
                yield "the covariances are further off than they say"


def _further(what: str, found: float, wanted: float, error: float) -> Iterator[str]:
    if abs(found - wanted) > error * (1 + 1e-9):
        yield f"{what} is {found:g}, the pooled rows have {wanted:g}: more than {error:g} apart"


def _other(what: str, found: Any, wanted: Any) -> Iterator[str]:
    if found != wanted:
        yield f"the {what} is {found}, the pooled rows have {wanted}"
