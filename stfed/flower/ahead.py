"""`Ahead`: the sums that come next, whose PREPARE rides on the UNMASK of these (ADR 0022).

Which sums come next is a guess of the `Forecast`; with groups it is one for each group. Each is opened when the first of these sums that
shares a node with it is unmasked, and a node is sent its PREPARE along with its UNMASK, whichever groups it is in now and then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stfed.errors import LocalError
from stfed.flower.forecast import Expected
from stfed.flower.groups import Groups
from stfed.flower.office import Office
from stfed.flower.opening import Opening
from stfed.secagg.messages import Phase
from stfed.secagg.server import Enrolment
from stfed.secagg.transcript import RoundFacts

Cohort = tuple[int, ...]


class Ahead:
    """What was prepared while one request of the strategy was summed.

    Args:
        office: opens rounds.
        groups: cuts the nodes of a training; None where there is one sum over all.
        asked: all nodes of the request that is summed now, in whatever group.
    """

    def __init__(self, office: Office, groups: Groups | None, asked: Collection[int]) -> None:
        self._office, self._groups, self._asked = office, groups, frozenset(asked)
        self._expected: Expected | None = None
        self._coming: list[Cohort] | None = None
        self._openings: list[Opening] = []

    def prepares(self, enrolment: Enrolment, nodes: Collection[int]) -> dict[int, Opening]:
        """Who is sent which PREPARE along with the UNMASK of the sum that was asked of these nodes, by directory index.

        Nodes that no sum of this request was asked of go with the first sum that shares a next one with them.
        """
        if self._coming is None:
            self._coming = self._cohorts()
        opened = [opening for cohort in self._coming if not set(nodes).isdisjoint(cohort) and (opening := self._open(enrolment, cohort))]
        self._openings += opened
        self._coming = [cohort for cohort in self._coming if set(nodes).isdisjoint(cohort)]
        new = {opening.round for opening in opened}
        return {
            index: opening
            for opening in self._openings
            for index in opening.cohort
            if (node := enrolment.nodes[index]) in nodes or (opening.round in new and node not in self._asked)
        }

    def take(self, facts: RoundFacts) -> Opening | None:
        """The round of these facts, if it was prepared, and not too long ago.

        One that is old was answered by parties that may be gone by now, and TRAIN would wait for them much longer than PREPARE does.
        """
        found = next((opening for opening in self._openings if opening.fits(facts)), None)
        if found is None or self._office.courier.now() - found.opened_at >= self._office.settings.light_timeout_s:
            return None
        self._openings.remove(found)
        return found

    def done(self) -> None:
        """What was not taken will not be."""
        for opening in self._openings:
            opening.done()

    def _cohorts(self) -> list[Cohort]:
        """The nodes of each sum that comes next, if they can be foreseen and need no JOIN."""
        office = self._office
        self._expected = office.forecast.next() if office.settings.prepare_ahead else None
        dp = office.settings.dp
        if self._expected is not None and self._expected.phase is Phase.TRAIN and dp is not None and dp.adaptive is not None:
            return []  # its clip follows from the sum that is not there yet
        if self._expected is None or office.roll.has_to_join(self._expected.nodes):
            return []
        members, _ = office.roll.members(self._expected.nodes)
        if self._groups is None or self._expected.phase is not Phase.TRAIN:
            return [tuple(members)]
        return list(self._groups.foresee(members))

    def _open(self, enrolment: Enrolment, cohort: Iterable[int]) -> Opening | None:
        office, expected = self._office, self._expected
        assert expected is not None
        members, _ = office.roll.members(tuple(cohort))  # who failed since the cohorts were foreseen is left out
        try:
            parameters = office.parameters(len(members))
            plan = office.plan({}, parameters.n) if expected.plan is None else office.resized(expected.plan, parameters.n)
            facts = office.facts(enrolment, parameters, plan, expected.phase, members)
        except LocalError:
            return None  # too few are left; the round itself will say so
        return office.open(enrolment, parameters, plan, facts)
