"""The questions there are, by the name that they have on the wire."""

from __future__ import annotations

from typing import Any

from stfed.errors import LocalError, shown
from stfed.flower.analytics.counts import Crosstab, Frequencies, Histogram, Quantiles
from stfed.flower.analytics.moments import Count, Covariance, Mean, Variance
from stfed.flower.analytics.question import Question

__all__ = [
    "Count",
    "Covariance",
    "Crosstab",
    "Frequencies",
    "Histogram",
    "Mean",
    "Quantiles",
    "Question",
    "Variance",
    "question_of",
]

KINDS: dict[str, type[Question]] = {
    kind.kind: kind for kind in (Count, Mean, Variance, Histogram, Quantiles, Frequencies, Crosstab, Covariance)
}


def question_of(value: Any) -> Question:
    """The question that `as_dict` made this of.

    Raises:
        LocalError: none.
    """
    if not isinstance(value, dict) or value.get("kind") not in KINDS:
        raise LocalError(f"this is no question: {shown(value)}", hint="it may be of a newer release")
    fields = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items() if name != "kind"}
    try:
        question = KINDS[value["kind"]](**fields)
    except TypeError:
        raise LocalError(f"a {value['kind']} question has other fields than {shown(sorted(fields))}") from None
    if not all(isinstance(name, str) for name in question.names):
        raise LocalError("the name of a column is no string")
    return question
