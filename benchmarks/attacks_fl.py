"""What a malicious party sends instead of its update: the attacks of benchmarks/robust.py.

Malicious parties know the model that they received and their own data, and nothing of the others. Sign flip and noise are the ones that
Blanchard, El Mhamdi, Guerraoui and Stainer (*Machine Learning with Adversaries*, NeurIPS 2017) and most papers since then measure; scaling
is the model replacement of Bagdasaryan, Veit, Hua, Estrin and Shmatikov (*How To Backdoor Federated Learning*, AISTATS 2020): an update
towards another model, made larger so that it survives the averaging. Attacks that look at what a defence does, such as those that stay
just inside what it lets through (Baruch, Baruch and Goldberg, *A Little Is Enough*, NeurIPS 2019), are not among these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.softmax import Crowd, Floats, Train

Change = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True)
class Attack:
    """One way to be malicious.

    Attributes:
        name: in a word or two.
        says: what a malicious party does, for the table.
        relabel: from the number of classes to the label that it trains on for each true one; None trains on the true ones.
        change: what it sends, for what it has learnt: changes of the model, shape (m, features, classes).
    """

    name: str
    says: str
    relabel: Callable[[int], NDArray[np.int64]] | None = None
    change: Change = lambda change, _: change

    def by(self, crowd: Crowd, malicious: NDArray[np.int64], seed: int) -> Train:
        """The training of a crowd in which these parties do this."""
        labels = np.tile(np.arange(crowd.classes), (crowd.parties, 1))
        if self.relabel is not None:
            labels[malicious] = self.relabel(crowd.classes)

        def train(model: Floats, server_round: int) -> Floats:
            sent = crowd.train(model, server_round, labels)
            rng = np.random.default_rng([seed, server_round])
            sent[malicious] = model + self.change(sent[malicious] - model, rng)
            return sent

        return train


def _noise(change: Floats, rng: np.random.Generator) -> Floats:
    """Noise of ten times the norm of what each party would have sent."""
    noise = rng.standard_normal(change.shape, np.float32)
    norms = np.linalg.norm(change, axis=(1, 2), keepdims=True) / np.linalg.norm(noise, axis=(1, 2), keepdims=True)
    return np.asarray(10 * norms * noise, np.float32)


SIGN_FLIP = Attack("sign flip", "sends its update times -5", change=lambda change, _: -5 * change)
SCALING = Attack(
    "scaling",
    "trains on the next digit's label and sends ten times the update",
    lambda n: (np.arange(n) + 1) % n,
    lambda change, _: 10 * change,
)
LABEL_FLIP = Attack("label flip", "trains on label 9 - y, and sends what it learns", lambda n: np.arange(n)[::-1].copy())
GAUSSIAN = Attack("gaussian", "sends noise of ten times its update's norm", change=_noise)
ATTACKS = (SIGN_FLIP, SCALING, LABEL_FLIP, GAUSSIAN)
