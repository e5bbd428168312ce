"""Counts, means, histograms and quantiles over data that stays where it is: secure sums of whole numbers, through the same mod as training.

    from stfed.flower.analytics import AnswerPolicy, Analytics, Category, Histogram, Mean, Number, answer

    CODEBOOK = {"age": Number(0, 120, step=5), "sex": Category("f", "m")}             # agreed on by all
    @app.train("analytics")                                                           # client_app.py
    def analytics(message, context): return answer(message, context, table, AnswerPolicy(CODEBOOK))
    mean, ages = Analytics(grid, CODEBOOK).ask(Mean("age"), Histogram("age"))         # server_app.py

What exact sums reveal, and what the policy does about it, is in docs/analytics.md. The coordinator's half is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stfed.flower.analytics.codebook import Category, Codebook, Number
from stfed.flower.analytics.ledger import Ledger
from stfed.flower.analytics.party import AnswerPolicy, QuestionRefusedError, answer
from stfed.flower.analytics.questions import (
    Count,
    Covariance,
    Crosstab,
    Frequencies,
    Histogram,
    Mean,
    Quantiles,
    Question,
    Variance,
)

if TYPE_CHECKING:
    from stfed.flower.analytics.coordinator import Analytics

__all__ = [
    "Analytics",
    "AnswerPolicy",
    "Category",
    "Codebook",
    "Count",
    "Covariance",
    "Crosstab",
    "Frequencies",
    "Histogram",
    "Ledger",
    "Mean",
    "Number",
    "Quantiles",
    "Question",
    "QuestionRefusedError",
    "Variance",
    "answer",
]


if not TYPE_CHECKING:  # type checkers would take it for a promise that every name is there

    def __getattr__(name: str) -> object:
        if name != "Analytics":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from stfed.flower.analytics.coordinator import Analytics

        return Analytics
