"""Graphs that parties draw, so small that a test can look at every case, and what the coordinator sees of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from stfed.crypto.random import Entropy
from stfed.secagg.client import Prepared
from stfed.secagg.messages import DrawnPrepare, DrawnTrainRequest
from stfed.secagg.params import Mode, Parameters, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import VICTIM, Scene, without


class AnyGraph(Policy):
    """Takes every k and t: no graph of a handful of parties is secure but the complete one."""

    __slots__ = ()

    def check_parameters(self, n: int, k: int, t: int) -> None:
        """Nothing."""


def any_graph(**settings: Any) -> AnyGraph:
    return AnyGraph(**{"mode": Mode.MALICIOUS, "gamma": 0.1, "delta": 0.34, "eager_parties": 10**4, **settings})


def drawn_parameters(n: int, k: int, t: int, gamma: float = 0.1) -> Parameters:
    """The calculator's for the complete graph, with another graph."""
    return replace(choose(n, gamma, 0, mode=Mode.MALICIOUS, graph="complete"), k=k, t=t, graph="k-out")


@dataclass
class SparseScene(Scene):
    """`Scene` on a graph that nine parties drew: k = 5, t = 4, so that 2t > k + C."""

    n: int = 9
    k: int = 5
    t: int = 4
    policy: Policy | None = field(default_factory=any_graph)

    def __post_init__(self) -> None:
        Scene.__post_init__(self)
        self.parameters = drawn_parameters(self.n, self.k, self.t)

    @property
    def prepared(self) -> Prepared:
        state = self.state()
        assert isinstance(state, Prepared)
        return state

    @property
    def holders(self) -> tuple[int, ...]:
        """Whom the victim drew."""
        return self.prepared.holders

    @property
    def strangers(self) -> tuple[int, ...]:
        """Who did not draw the victim."""
        return without(self.others, *self.request.dealers)

    def only(self, *dealers: int, alive: tuple[int, ...] | None = None) -> DrawnTrainRequest:
        """The TRAIN that the victim is owed, with the deliveries of these dealers alone."""
        passed_on = dict(zip(self.request.dealers, self.request.deliveries, strict=True))
        changes = {"dealers": dealers, "deliveries": tuple(passed_on.get(dealer, self.request.deliveries[0]) for dealer in dealers)}
        return replace(self.request, alive=self.request.alive if alive is None else alive, **changes)


def drawn_by(prepares: dict[int, Any]) -> dict[int, set[int]]:
    """Whom each party drew, as the coordinator sees it."""
    assert all(isinstance(prepare, DrawnPrepare) for prepare in prepares.values())
    return {party: set(prepare.holders) for party, prepare in prepares.items()}


def with_entropy(protocol: LocalProtocol, node: int, entropy: Entropy) -> None:
    """Gives one party other randomness."""
    protocol.parties[node]._entropy = entropy


__all__ = ["VICTIM", "AnyGraph", "SparseScene", "any_graph", "drawn_by", "drawn_parameters", "with_entropy"]
