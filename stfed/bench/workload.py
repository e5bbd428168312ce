"""What the parties of a benchmark sum: a float32 model each, near the one they received, and a weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Model = dict[str, NDArray[np.float32]]

MAX_WEIGHT = 1000.0
CLIP = 8.0
NAME = "model"
SPREAD = 0.01
"""Standard deviation of an update's coordinates."""


@dataclass(frozen=True)
class Workload:
    """Models drawn from a seed, again at every call, so that a thousand parties take the memory of one.

    Attributes:
        parties: how many; a party is a number from 0.
        parameters: float32 coordinates of the model.
        dropout: share of the parties that answer PREPARE and nothing after it.
    """

    parties: int
    parameters: int
    dropout: float = 0.0
    seed: int = 0

    @cached_property
    def received(self) -> Model:
        """The model that all parties get."""
        return {NAME: self._draw(self.parties, 0.1)}

    def trained(self, party: int) -> Model:
        """What a party made of it."""
        return {NAME: self.received[NAME] + self._draw(party, SPREAD)}

    def weight(self, party: int) -> int:
        """The party's number of examples."""
        return 50 + party % 101

    @cached_property
    def dropped(self) -> frozenset[int]:
        """The parties that drop."""
        chosen = np.random.default_rng([self.seed, self.parties + 1]).permutation(self.parties)
        return frozenset(chosen[: round(self.dropout * self.parties)].tolist())

    @cached_property
    def survivors(self) -> list[int]:
        """The parties that stay."""
        return sorted(set(range(self.parties)) - self.dropped)

    @property
    def mean_weight(self) -> float:
        """Of the parties that stay."""
        return sum(map(self.weight, self.survivors)) / len(self.survivors)

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """The weighted mean of the parties that stay, in double precision."""
        total = np.zeros(self.parameters)
        for party in self.survivors:
            total += self.trained(party)[NAME] * np.float64(self.weight(party))
        return total / sum(map(self.weight, self.survivors))

    def error(self, result: NDArray[np.generic]) -> float:
        """The largest absolute difference of a result from `mean`."""
        return float(np.abs(result.astype(np.float64) - self.mean).max())

    def _draw(self, stream: int, scale: float) -> NDArray[np.float32]:
        generator = np.random.default_rng([self.seed, stream])
        return generator.standard_normal(self.parameters, np.float32) * np.float32(scale)
