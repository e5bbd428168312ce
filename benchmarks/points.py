"""The points at which `stfed` and Flower's SecAgg+ are compared: how many parties, parameters, neighbours and drops.

On both sides a party shares with the same number k of neighbours, and the same number t of shares reconstructs a secret; Flower counts a
party's own share too, so its `num_shares` is k + 1. On the complete graph t is 60 % of the parties. On the sparse one k and t are what
`stfed` chooses for 10 % corrupt parties, its default, and the point's drops; Flower leaves both to the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

from stfed.bench.stopwatch import COORDINATOR
from stfed.bench.workload import Workload
from stfed.errors import LocalError
from stfed.secagg.params import COMPLETE_UP_TO, Parameters, choose

_GAMMA, _DELTA = 0.1, 0.1
_COMPLETE_THRESHOLD = 0.6
_PEER_BYTES = 17
"""What Flower's round takes for each parameter of each party, which it holds all at once; ours takes next to nothing."""
_BASE_BYTES = 1 << 30

Graph = Literal["complete", "sparse"]


@dataclass(frozen=True)
class Point:
    """One round of both.

    Attributes:
        dropout: share of the parties that drop after PREPARE.
    """

    n: int
    d: int
    graph: Graph = "complete"
    dropout: float = 0.1

    def __str__(self) -> str:
        return f"n = {self.n}, d = {self.d:,}, {self.graph}, {self.dropout:.0%} drop"

    def parameters(self) -> Parameters:
        """k and t.

        Raises:
            LocalError: there are none for so few parties.
        """
        if self.graph == "sparse" and self.n <= COMPLETE_UP_TO:
            raise LocalError(f"up to {COMPLETE_UP_TO} parties stfed takes part in complete graphs only")
        if self.graph == "complete":
            # No share of corrupt parties is assumed: t is given, and on a complete graph it is the whole of the promise.
            return choose(self.n, 0.0, self.dropout, graph="complete", t=round(_COMPLETE_THRESHOLD * self.n))
        return choose(self.n, _GAMMA, max(self.dropout, _DELTA), graph="sparse")

    def workload(self) -> Workload:
        """Models, weights and drops."""
        return Workload(self.n, self.d, self.dropout)

    @property
    def targets(self) -> dict[str, float]:
        """How many times longer the peer should take, by role. Smaller rounds have no target, there is too little to win."""
        if (self.n, self.d, self.dropout) != (100, 1_000_000, 0.1):
            return {}
        return {COORDINATOR: 100.0, "whole round": 30.0} if self.graph == "complete" else {COORDINATOR: 10.0, "whole round": 10.0}

    def wanted(self) -> Iterator[tuple[str, float | None]]:
        """The lines that stand in the table even if the point could not be measured."""
        yield from self.targets.items() or [("whole round", None)]

    @property
    def need_bytes(self) -> int:
        """Memory, roughly."""
        return _BASE_BYTES + _PEER_BYTES * self.n * self.d

    def as_json(self) -> dict[str, Any]:
        """The point itself."""
        return asdict(self)


_GRAPHS: tuple[Graph, ...] = ("complete", "sparse")
GRID = tuple(
    Point(n, d, graph, dropout) for n, d, graph, dropout in product((10, 50, 100), (10**5, 10**6, 10**7), _GRAPHS, (0.0, 0.1, 0.2))
)
DEFAULT = (
    Point(100, 10**6),
    Point(100, 10**6, "sparse"),
    Point(100, 10**6, "sparse", 0.0),
    Point(100, 10**6, "sparse", 0.2),
    Point(50, 10**5),
    Point(50, 10**6),
    Point(50, 10**6, "sparse"),
    Point(10, 10**5),
    Point(10, 10**6),
    Point(10, 10**7),
    Point(50, 10**7, "sparse"),
)
QUICK = (Point(10, 20_000), Point(34, 20_000, "sparse"))
