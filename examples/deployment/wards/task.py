"""wards: model, training and data. A small multilayer perceptron in NumPy: a ClientApp is a new process for every message, and imports
of a deep learning framework would be most of its life.
"""

from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord

Arrays = dict[str, np.ndarray]

FEATURES, HIDDEN = 30, 16


def make_model(seed: int = 7) -> Arrays:
    """The first model, the same everywhere."""
    generator = np.random.default_rng(seed)
    return {
        "hidden.weight": generator.normal(0, 0.3, (FEATURES, HIDDEN)).astype(np.float32),
        "hidden.bias": np.full(HIDDEN, 0.01, np.float32),
        "out.weight": generator.normal(0, 0.3, HIDDEN).astype(np.float32),
        "out.bias": np.full(1, 0.01, np.float32),
    }


def record(model: Arrays) -> ArrayRecord:
    """A model as Flower sends it."""
    return ArrayRecord({name: Array(value) for name, value in model.items()})


def load(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of a CSV file: a row for each patient, the label in the last column."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return table[:, :-1], table[:, -1]


def train(model: Arrays, x: np.ndarray, y: np.ndarray, epochs: int, lr: float) -> tuple[Arrays, float]:
    """Gradient descent on the whole set, `epochs` steps; the new model and the last loss."""
    model, loss = {name: value.astype(np.float64) for name, value in model.items()}, 0.0
    for _ in range(epochs):
        hidden = np.tanh(x @ model["hidden.weight"] + model["hidden.bias"])
        probability = _sigmoid(hidden @ model["out.weight"] + model["out.bias"])
        loss = float(-np.mean(np.log(np.where(y == 1, probability, 1 - probability) + 1e-9)))
        slope = (probability - y) / len(y)
        back = np.outer(slope, model["out.weight"]) * (1 - hidden**2)
        gradient = {
            "hidden.weight": x.T @ back,
            "hidden.bias": back.sum(0),
            "out.weight": hidden.T @ slope,
            "out.bias": slope.sum(keepdims=True),
        }
        model = {name: value - lr * gradient[name] for name, value in model.items()}
    return {name: value.astype(np.float32) for name, value in model.items()}, loss


def accuracy(model: Arrays, x: np.ndarray, y: np.ndarray) -> float:
    """Share of patients told right."""
    hidden = np.tanh(x @ model["hidden.weight"] + model["hidden.bias"])
    return float(np.mean((_sigmoid(hidden @ model["out.weight"] + model["out.bias"]) > 0.5) == (y == 1)))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
