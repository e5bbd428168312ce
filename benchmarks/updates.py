"""Updates to measure encodings on: of real training, the digits CNN of examples/hospitals, and drawn ones with heavy tails."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Model = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Updates:
    """What the parties of one round have.

    Attributes:
        received: the model that all of them got.
        trained: each one's own.
        weights: each one's number of examples.
    """

    received: Model
    trained: list[Model]
    weights: list[int]

    @property
    def size(self) -> int:
        """d, the number of coordinates."""
        return sum(tensor.size for tensor in self.received.values())

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """The weighted mean change, in double precision."""
        return np.asarray(np.average([self.change(model) for model in self.trained], axis=0, weights=self.weights))

    @cached_property
    def rms(self) -> float:
        """The root mean square change of a coordinate, over all parties."""
        return float(np.sqrt(np.mean([np.mean(self.change(model) ** 2) for model in self.trained])))

    def change(self, model: Model) -> NDArray[np.float64]:
        """From the received model to this one, all tensors in one line."""
        return flat(model) - flat(self.received)


def flat(model: Model) -> NDArray[np.float64]:
    """All tensors in one line, in double precision."""
    return np.concatenate([tensor.ravel().astype(np.float64) for tensor in model.values()])


def moved(model: Model, change: NDArray[np.float64]) -> Model:
    """The model after this change."""
    ends = np.cumsum([tensor.size for tensor in model.values()])[:-1]
    parts = np.split(change, ends)
    return {
        name: (tensor + part.reshape(tensor.shape)).astype(np.float32) for (name, tensor), part in zip(model.items(), parts, strict=True)
    }


def student_t3(parties: int, size: int, scale: float = 0.01) -> Updates:
    """Independent coordinates, each from Student's t distribution with three degrees of freedom: tails so heavy that the fourth moment is
    infinite."""
    rng = np.random.default_rng(3)
    received = {"w": np.zeros(size, np.float32)}
    return Updates(received, [{"w": (scale * rng.standard_t(3, size)).astype(np.float32)} for _ in range(parties)], [100] * parties)


class Federation:
    """Parties with real digits, dealt unevenly, that train a small CNN. The same seed gives the same training.

    Args:
        dataset: "mnist" (5,000 digits of 28 x 28) or "digits" (1,797 of 8 x 8).
        seed: of the initial model and of the order of the batches. The data are dealt the same way whatever it is.
        parties: how many.

    Attributes:
        initial: the model of round 0.
        weights: how many examples each party trains on.
    """

    def __init__(self, dataset: str, seed: int, parties: int = 20) -> None:
        from examples.hospitals import task
        from examples.hospitals.data import partitions, public_test

        self._task, self._seed = task, seed
        self._module = task.make_model(dataset, seed)
        self.initial = self._state()
        self._parts = [part.train for part in partitions(dataset, parties, 0.5, 7)]
        self._test = public_test(dataset, 7)
        self.weights = [len(part.y) for part in self._parts]

    def train(self, model: Model, server_round: int) -> Updates:
        """One local epoch of every party, from this model."""
        return Updates(model, [self._trained(model, server_round, party) for party in range(len(self._parts))], self.weights)

    def accuracy(self, model: Model) -> float:
        """On the public test set."""
        self._load(model)
        return float(self._task.evaluate(self._module, self._test)[1])

    def _trained(self, model: Model, server_round: int, party: int) -> Model:
        self._load(model)
        self._task.train(
            self._module, self._parts[party], epochs=1, lr=0.05, batch_size=32, seed=self._seed, server_round=server_round, party=party
        )
        return self._state()

    def _state(self) -> Model:
        return {name: tensor.numpy().copy() for name, tensor in self._module.state_dict().items()}

    def _load(self, model: Model) -> None:
        import torch

        self._module.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in model.items()})
