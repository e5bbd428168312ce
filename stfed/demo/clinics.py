"""Clinics that train a small network to read handwritten digits, and each have one image that nobody else is to see.

One step of gradient descent on one image x changes row k of the first layer's weights by -g_k x, and bias k by -g_k, whatever comes after
that layer: the quotient of the two is the image itself, to the last bits of its numbers (Phong, Aono, Hayashi, Wang, Moriai,
*Privacy-Preserving Deep Learning via Additively Homomorphic Encryption*, IEEE TIFS 2018, section 3). Where the first layer is a
convolution, an optimiser takes the place of the division (Zhu, Liu, Han, *Deep Leakage from Gradients*, NeurIPS 2019).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from stfed.errors import LocalError

Pixels: TypeAlias = NDArray[np.float64]
"""64 numbers; an image has them from 0 to 1."""
Arrays: TypeAlias = dict[str, NDArray[np.float64]]

CLINICS, SIDE, HIDDEN, DIGITS = 5, 8, 16, 10
PIXELS = SIDE * SIDE
WEIGHTS, BIAS = "first.weights", "first.bias"
_SECOND, _SECOND_BIAS = "second.weights", "second.bias"
_STEP = 0.5


@cache
def image(clinic: int) -> tuple[Pixels, int]:
    """The private image of a clinic, and the digit that it shows.

    Raises:
        LocalError: scikit-learn, which brings the images, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise LocalError(
            "the clinics' images come with scikit-learn, which is not installed", hint="pip install 'stfed[examples]'"
        ) from None
    digits, place = load_digits(), 7 * clinic + 3
    pixels: Pixels = digits.data[place] / 16.0
    return pixels, int(digits.target[place])


def model() -> Arrays:
    """The first model: small random weights. The first layer comes first."""
    generator = np.random.default_rng(1)
    first, second = generator.normal(0, 0.1, (HIDDEN, PIXELS)), generator.normal(0, 0.3, (DIGITS, HIDDEN))
    return {WEIGHTS: first, BIAS: np.zeros(HIDDEN), _SECOND: second, _SECOND_BIAS: np.zeros(DIGITS)}


def record(arrays: Arrays) -> ArrayRecord:
    """As Flower sends them."""
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def arrays_of(found: ArrayRecord) -> Arrays:
    """The inverse of `record`."""
    return {name: array.numpy() for name, array in found.items()}


def app(*mods: Any) -> ClientApp:
    """A clinic's ClientApp: the same train function, with the secure mod or without. Nodes past the last clinic change nothing."""
    client = ClientApp(mods=list(mods))

    @client.train()
    def train(message: Message, context: Context) -> Message:
        clinic = int(context.node_config["partition-id"])
        arrays = arrays_of(message.content.array_records["arrays"])
        after = trained(arrays, clinic) if clinic < CLINICS else arrays
        return Message(RecordDict({"arrays": record(after), "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    return client


def trained(arrays: Arrays, clinic: int) -> Arrays:
    """One step of gradient descent on a clinic's image: two layers with a rectifier between them, softmax, cross entropy."""
    pixels, digit = image(clinic)
    before = arrays[WEIGHTS] @ pixels + arrays[BIAS]
    hidden = np.maximum(before, 0.0)
    scores = arrays[_SECOND] @ hidden + arrays[_SECOND_BIAS]
    chances = np.exp(scores - scores.max())
    wrong = chances / chances.sum() - np.eye(DIGITS)[digit]
    inner = (arrays[_SECOND].T @ wrong) * (before > 0)
    gradient = {WEIGHTS: np.outer(inner, pixels), BIAS: inner, _SECOND: np.outer(wrong, hidden), _SECOND_BIAS: wrong}
    return {name: array - _STEP * gradient[name] for name, array in arrays.items()}
