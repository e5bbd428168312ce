"""encrypted_inference: a scoring service. It has a model, and of its customer's keys those that compute and cannot decrypt."""

from __future__ import annotations

from examples.encrypted_inference.training import Model
from stfed.encrypted import EvaluationContext, dumps, loads
from stfed.encrypted.fits import sigmoid_coefficients

SIGMOID_DEGREE = 3
DEPTH = 3
"""Multiplications one after the other: one for the product with the weights, two for a polynomial of degree 3."""


class ScoringService:
    """Scores rows that it cannot read; bytes in, bytes out.

    Args:
        model: plain, its own.
        context: the customer's evaluation context.
    """

    def __init__(self, model: Model, context: EvaluationContext) -> None:
        self._model, self._context = model, context
        # On every logit that there can be: outside of its interval a polynomial is no sigmoid at all.
        self.sigmoid = sigmoid_coefficients(model.largest_logit, SIGMOID_DEGREE)

    def logits(self, message: bytes) -> bytes:
        """The linear model: rows times weights, plus bias. One multiplication."""
        return dumps(loads(self._context, message) @ self._model.weights + self._model.bias)

    def probabilities(self, message: bytes) -> bytes:
        """The logistic model, with a polynomial for the sigmoid. Logits are made small first, in the plain weights, where it is free."""
        small = self._model.largest_logit / 2
        logits = loads(self._context, message) @ (self._model.weights / small) + self._model.bias / small
        return dumps(logits.polyval(self.sigmoid.scaled(small)))
