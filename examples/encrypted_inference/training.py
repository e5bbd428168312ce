"""encrypted_inference: the model, a logistic regression that five hospitals train together, every round a secure sum.

The features are those of the hospitals example, scaled by public constants to [-2, 2]: what a bound for encryption has to be is known
without a look at anybody's rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from examples.hospitals.data import partitions
from stfed.flower import SecAggMod, SecureAggregation
from stfed.testing import InMemoryGrid

HOSPITALS, ROUNDS, STEPS, SEED = 5, 4, 30, 7
FEATURES = 30
FEATURE_BOUND = 2.0
"""Of a scaled feature, in absolute value."""
_RATE, _DECAY = 0.3, 0.03


class Model(NamedTuple):
    """A logistic regression: its logits are a linear model's predictions.

    Attributes:
        weights: float64 (30,).
        bias: of the logits.
    """

    weights: NDArray[np.float64]
    bias: float

    def logits(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of shape (n,)."""
        return rows @ self.weights + self.bias

    @property
    def largest_logit(self) -> float:
        """No row with features in their bounds has a larger one, in absolute value; and some room for rounding."""
        return float(np.abs(self.weights).sum() * FEATURE_BOUND + abs(self.bias)) * 1.001


def train(state_dir: str) -> Model:
    """The global model after all rounds.

    Args:
        state_dir: where the parties, which all run in this process, keep their state.
    """
    app = ClientApp(mods=[SecAggMod(state_dir=state_dir)])
    app.train()(_train)
    start = ArrayRecord({"weights": Array(np.zeros(FEATURES)), "bias": Array(np.zeros(1))})
    strategy = SecureAggregation(FedAvg(fraction_evaluate=0.0), max_weight=150.0)
    arrays = strategy.start(InMemoryGrid(app, HOSPITALS), start, ROUNDS).arrays
    return Model(arrays["weights"].numpy(), float(arrays["bias"].numpy()[0]))


def _train(message: Message, context: Context) -> Message:
    """Some steps of gradient descent on one hospital's rows; an ordinary train function."""
    own = partitions("breast-cancer", HOSPITALS, 1.0, SEED)[int(context.node_config["partition-id"])].train
    x, y = own.x.numpy().astype(np.float64), own.y.numpy()
    arrays = message.content["arrays"]
    weights, bias = arrays["weights"].numpy(), arrays["bias"].numpy()
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(-(x @ weights + bias))) - y
        weights = weights - _RATE * (x.T @ wrong / len(y) + _DECAY * weights)
        bias = bias - _RATE * wrong.mean(keepdims=True)
    reply = {
        "arrays": ArrayRecord({"weights": Array(weights), "bias": Array(bias)}),
        "metrics": MetricRecord({"num-examples": len(y)}),
    }
    return Message(RecordDict(reply), reply_to=message)
