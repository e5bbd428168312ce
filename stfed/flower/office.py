"""`Office`: what all rounds of a run share, and how any of them is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stfed.encoding import Array, EncodingPlan
from stfed.flower.courier import Courier
from stfed.flower.dp import Privacy
from stfed.flower.events import EventLog
from stfed.flower.forecast import Forecast
from stfed.flower.journal import Journal
from stfed.flower.opening import Opening, facts_for, numbered
from stfed.flower.roll import Roll
from stfed.flower.settings import Settings
from stfed.secagg.masking import Accumulate
from stfed.secagg.messages import Phase
from stfed.secagg.params import Parameters
from stfed.secagg.server import Enrolment
from stfed.secagg.transcript import RoundFacts


@dataclass(frozen=True, slots=True)
class Office:
    """Where rounds are opened.

    Attributes:
        roll: who has joined.
        courier: moves messages, and tells the time.
        journal: hands out round numbers.
        settings: the coordinator's.
        forecast: what will be asked for next.
        run: Flower's run id.
        weight_key: the metric that weights a party.
        events: where it is told how far a round is.
        accumulate: does the keystreams of unmasking elsewhere.
        privacy: what a differentially private run has spent.
        clip: of trainings, where it follows the updates; None where it is the settings'. Evaluations send no coordinates, and keep theirs.
        picked_from: of how many parties a cohort's corrupt ones are a share; None: of its own. It decides how much noise is counted on.
    """

    roll: Roll
    courier: Courier
    journal: Journal
    settings: Settings
    forecast: Forecast
    run: int
    weight_key: str
    events: EventLog
    accumulate: Accumulate | None = None
    privacy: Privacy | None = None
    clip: float | None = None
    picked_from: int | None = None

    def parameters(self, n: int) -> Parameters:
        """(k, t) for a cohort of n, or the `LocalError` that says why there are none."""
        return self.settings.parameters(n, self.roll.roster_size)

    def floor(self, n: int) -> int:
        """The fewest parties that a sum over a cohort of n may have, whatever its graph."""
        return self.settings.floor(max(2, n), n - 1, self.roll.roster_size)

    def plan(self, arrays: Mapping[str, Array], n: int) -> EncodingPlan:
        """How the vectors of n parties are encoded."""
        return self._clipped(self.settings.plan(arrays, n, self.weight_key, self.run, self.picked_from))

    def resized(self, plan: EncodingPlan, n: int) -> EncodingPlan:
        """The same for another number of parties, with the clip of now."""
        return self._clipped(self.settings.resized(plan, n, self.picked_from))

    def _clipped(self, plan: EncodingPlan) -> EncodingPlan:
        return plan if self.clip is None or not plan.tensors else replace(plan, clip=self.clip)

    def corrupt(self, plan: EncodingPlan) -> int:
        """How many parties of a sum may be corrupt, whose noise is not counted on."""
        return self.settings.corrupt(plan.parties, self.picked_from)

    def allow(self, plan: EncodingPlan, server_round: int | None) -> None:
        """Refuses a sum that costs more privacy than is left, before anything of it is sent; `BudgetError` says what was spent."""
        if self.privacy is not None:
            self.privacy.allow(plan, self.corrupt(plan), server_round)

    def facts(self, enrolment: Enrolment, parameters: Parameters, plan: EncodingPlan, phase: Phase, nodes: Iterable[int]) -> RoundFacts:
        """What PREPARE fixes, but for the number."""
        return facts_for(self.settings, enrolment, parameters, plan, phase, nodes, self.run)

    def open(self, enrolment: Enrolment, parameters: Parameters, plan: EncodingPlan, facts: RoundFacts) -> Opening:
        """A new round of these facts, with a number of its own."""
        facts = numbered(facts, self.journal.next_round(self.run))
        return Opening.of(self.roll, self.settings, enrolment, parameters, plan, facts, self.courier.now())
