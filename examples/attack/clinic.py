"""Clinics that train a linear classifier of handwritten digits, and each have one image that nobody else is to see.

One step of gradient descent on one image changes row k of the weights by -(p_k - y_k) x, and bias k by -(p_k - y_k): the quotient of the
two is the image itself, to the last bits of its numbers (Phong, Aono, Hayashi, Wang, Moriai, *Privacy-Preserving Deep Learning via
Additively Homomorphic Encryption*, IEEE TIFS 2018, section 3). Deep models take an optimiser in the place of a division (Zhu, Liu, Han,
*Deep Leakage from Gradients*, NeurIPS 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray
from sklearn.datasets import load_digits

CLINICS, PIXELS, DIGITS = 5, 64, 10
_STEP = 0.5


def image(clinic: int) -> tuple[NDArray[np.float64], int]:
    """The private image of a clinic, 64 pixels from 0 to 1, and what it shows."""
    digits = load_digits()
    place = 7 * clinic + 3
    return digits.data[place] / 16.0, int(digits.target[place])


def model() -> dict[str, NDArray[np.float64]]:
    """The first model: small random weights."""
    generator = np.random.default_rng(1)
    return {"weights": generator.normal(0, 0.01, (DIGITS, PIXELS)), "bias": np.zeros(DIGITS)}


def record(arrays: dict[str, NDArray[np.float64]]) -> ArrayRecord:
    """As Flower sends them."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def app(*mods: Any) -> ClientApp:
    """A clinic's ClientApp: the same train function, with the mod or without."""
    client = ClientApp(mods=list(mods))

    @client.train()
    def train(message: Message, context: Context) -> Message:
        pixels, digit = image(int(context.node_config["partition-id"]))
        arrays = {name: array.numpy() for name, array in message.content.array_records["arrays"].items()}
        scores = arrays["weights"] @ pixels + arrays["bias"]
        chances = np.exp(scores - scores.max())
        wrong = chances / chances.sum() - np.eye(DIGITS)[digit]
        trained = {"weights": arrays["weights"] - _STEP * np.outer(wrong, pixels), "bias": arrays["bias"] - _STEP * wrong}
        content = {"arrays": record(trained), "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    return client
