"""`Forecast`: which sum a strategy will most likely ask for next, so that its PREPARE can ride on the UNMASK of this one.

A strategy tells nobody what comes next, but most do the same thing again and again: training, evaluation, training, with the same nodes. A
wrong forecast costs some kilobytes and one unused round number, never a wrong sum: what the strategy asks for is compared with what was
forecast, and prepared anew if it differs. Where nodes are sampled anew each time, or now this follows and now that, no
forecast is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from stfed.encoding import EncodingPlan
from stfed.flower.request import Request
from stfed.secagg.messages import Phase


@dataclass(frozen=True, slots=True)
class Expected:
    """The sum that comes next.

    Attributes:
        phase: what it is for.
        nodes: whom the strategy will ask.
        plan: the encoding of the last sum of this phase; None if there was none, which is for evaluations only.
    """

    phase: Phase
    nodes: frozenset[int]
    plan: EncodingPlan | None


class Forecast:
    """Learns from the requests of one run.

    Args:
        evaluates: whether the strategy has the parties evaluate after training; None if that has to be seen first.
        rounds: how many of the strategy's rounds there are; None if nobody knows.
    """

    def __init__(self, *, evaluates: bool | None = None, rounds: int | None = None) -> None:
        self.rounds = rounds
        self._after: dict[Phase, tuple[Phase, ...]] = {}
        if evaluates is not None:
            self._after = {Phase.TRAIN: (Phase.EVALUATE,), Phase.EVALUATE: (Phase.TRAIN,)} if evaluates else {Phase.TRAIN: (Phase.TRAIN,)}
        self._nodes: dict[Phase, frozenset[int]] = {}
        self._plans: dict[Phase, EncodingPlan] = {}
        self._sampled: set[Phase] = set()
        self._last: Phase | None = None
        self._server_round: int | None = None

    def saw(self, request: Request) -> None:
        """Takes note of what the strategy asks for."""
        nodes = frozenset(request.messages)
        if self._nodes.get(request.phase, nodes) == nodes:
            self._sampled.discard(request.phase)
        else:
            self._sampled.add(request.phase)
        if self._last is not None:
            self._after[self._last] = (*self._after.get(self._last, ()), request.phase)[-2:]
        self._nodes[request.phase], self._last, self._server_round = nodes, request.phase, request.server_round()

    def planned(self, phase: Phase, plan: EncodingPlan) -> None:
        """Takes note of how a sum of this phase is encoded."""
        self._plans[phase] = plan

    def next(self) -> Expected | None:
        """What comes after the request that was seen last; None if that is not known."""
        followed = set(self._after.get(self._last, ())) if self._last is not None else set()
        phase = followed.pop() if len(followed) == 1 else None  # what followed the last two times, if it was the same
        if phase is None or phase in self._sampled or self._ends(phase):
            return None
        nodes = self._nodes.get(phase)
        if nodes is None:
            # The first evaluation, as a rule: of the same nodes that have trained.
            if phase is not Phase.EVALUATE or self._last in self._sampled:
                return None
            nodes = self._nodes[Phase.TRAIN]
        return Expected(phase, nodes, self._plans.get(phase))

    def _ends(self, phase: Phase) -> bool:
        """Whether the run is over before this phase comes again: a training would belong to the round after the last one."""
        return phase is Phase.TRAIN and self._server_round is not None and self._server_round == self.rounds
