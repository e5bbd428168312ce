"""A coordinator that says anything, against real parties that draw their holders: whatever it can compute obeys one rule.

`adversary` keeps what the coordinator knows. ADR 0018 says what follows from 2t > k + c, the t holders in U1 that a party insists on, the
quorum, and the binding of shares to the cohort: no party's b and z are both known, and in every sum that comes out each party has t of the
holders that it drew in that sum or among the corrupt. (How few parties such a sum may have is then a matter of chance alone, which
`test_sparse_cut` and `test_tails` are about.) The rule is checked in rounds of a coordinator that plays at random, and in attacks that are
built to break it, with each of the four taken away.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto.random import system_entropy
from stfed.secagg.client import Prepared
from stfed.secagg.messages import DrawnTrainRequest, Phase
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import RefusedError
from stfed.secagg.transcript import RoundFacts
from tests.secagg.adversary import Adversary, Parties, View, all_but, content_of
from tests.secagg.scene import NO_METRICS, plan_of
from tests.secagg.sparse import any_graph


class DrawnAdversary(Adversary):
    """`Adversary` on a graph that the parties draw. The corrupt one holds what it was dealt, and no more."""

    def __init__(self, n: int, k: int, t: int, policy: Policy) -> None:
        super().__init__(n, policy)
        self.k, self.t = k, t

    def shows(self, index: int, round_: int, cohort: Parties) -> None:
        """PREPARE with this cohort."""
        directory = self.enrolment.directory
        header, plan = replace(directory.header, round=round_), plan_of(len(cohort), 4).encode()
        facts = RoundFacts(header, Phase.TRAIN, Mode.MALICIOUS, self.k, self.t, plan, cohort, directory.cohort_digest(cohort))
        first = index == self.corrupt or not hasattr(self.state(index), "member")
        self.ask(index, facts.request(directory.encoded if first else ()))

    def trains(self, index: int, alive: Parties, content: bytes, omitted: Parties = ()) -> None:
        """TRAIN with this U1 and the shares of all that dealt it some, but for the omitted."""
        state = self.state(index)
        if index == self.corrupt or not isinstance(state, Prepared):
            return
        round_ = state.header.round
        known = self.rounds[round_]
        dealers = tuple(
            dealer
            for dealer in alive
            if dealer != index and dealer not in omitted and dealer in known.prepares and index in self.holders(round_, dealer)
        )
        deliveries = tuple(self._delivery(known, dealer, index) for dealer in dealers)
        request = DrawnTrainRequest(header=state.header, alive=alive, deliveries=deliveries, dealers=dealers)
        self.sent.append(request.encode())
        try:
            ticket = self.party(index).start_training(request.encode(), content)
        except RefusedError:
            return
        self.party(index).finish_training(ticket, NO_METRICS, 1, bytes(32))
        training = self.state(index)
        known.views[index] = View(training.transcript, training.alive, tuple(dealer for dealer, _, _ in training.held))

    def sums(self, round_: int) -> set[Parties]:
        """The smallest sum with each honest party in it, where there is one."""
        return {found for party in self.honest if (found := self._sum_with(round_, party)) is not None}

    def breaks(self, round_: int) -> list[Parties]:
        """The sums in which somebody has fewer than t of its holders, itself not among them, in the sum or among the corrupt."""
        return [
            found
            for found in self.sums(round_)
            if any(len({*found, self.corrupt}.intersection(self.holders(round_, party))) < self.t for party in found)
        ]


def drawing(*places: int):  # type: ignore[no-untyped-def]
    """Randomness with which a party draws these places (of the cohort without itself); all else is as usual."""
    words = b"".join(place.to_bytes(4, "little") for place in (*places, *places))
    first = [words]

    def entropy(size_bytes: int, /) -> bytes:
        return first.pop() if first and size_bytes == len(words) else system_entropy(size_bytes)

    return entropy


# --- at random ---------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_coordinator_says_every_sum_has_t_of_everybodys_holders(data: st.DataObject) -> None:
    n, k, t = 8, 4, 3
    adversary = DrawnAdversary(n, k, t, any_graph(gamma=0.1, delta=0.45))
    everybody, honest = tuple(range(n)), adversary.honest
    cohorts = [everybody, all_but(data.draw(st.sampled_from(honest)), of=everybody)]
    for index in everybody:
        adversary.shows(index, 1, cohorts[data.draw(st.sampled_from([0] * 8 + [1]))])

    def some(least: int) -> Parties:
        gone = data.draw(st.sets(st.sampled_from(honest), max_size=n - least))
        return all_but(*gone, of=everybody)

    worlds = [(some(5), 0), (some(5), 1)]
    for index in honest:
        alive, variant = worlds[data.draw(st.sampled_from([0] * 5 + [1]))]
        omitted = data.draw(st.sampled_from([(), (), tuple(data.draw(st.sets(st.sampled_from(honest), max_size=4)))]))
        adversary.trains(index, alive, content_of(1, variant), omitted)
    claims = [some(5), some(5)]
    for index in honest:
        adversary.confirm(index, claims[data.draw(st.sampled_from([0] * 5 + [1]))])
    for index in honest:
        for survivors in claims:
            adversary.unmask(index, survivors)
    assert adversary.both() == []
    assert adversary.breaks(1) == []


def test_an_honest_round_is_one_sum_of_everybody() -> None:
    adversary = honest_round()
    assert adversary.sums(1) == {adversary.honest}
    assert adversary.breaks(1) == []


def honest_round(*, t: int = 3) -> DrawnAdversary:
    adversary = DrawnAdversary(8, 5, t, any_graph(delta=0.45))
    everybody = tuple(range(8))
    for index in everybody:
        adversary.shows(index, 1, everybody)
    for index in everybody:
        adversary.trains(index, everybody, content_of(1, 0))
    for index in adversary.honest:
        adversary.confirm(index, everybody)
    for index in adversary.honest:
        adversary.unmask(index, everybody)
    return adversary


# --- built to break it -------------------------------------------------------------------------------------------------------------------


def alone_in_its_u1() -> DrawnAdversary:
    """One victim is shown a U1 without its holders, who then answer for it."""
    adversary = DrawnAdversary(9, 4, 3, any_graph(delta=0.45))
    everybody, victim = tuple(range(9)), adversary.honest[0]
    adversary.protocol.parties[adversary.enrolment.nodes[victim]]._entropy = drawing(*range(4))
    for index in everybody:
        adversary.shows(index, 1, everybody)
    holders = adversary.holders(1, victim)
    adversary.trains(victim, all_but(*holders, of=everybody), content_of(1, 1), everybody)
    for index in all_but(victim, of=adversary.honest):
        adversary.trains(index, everybody, content_of(1, 0))
        adversary.confirm(index, everybody)
    for index in all_but(victim, of=adversary.honest):
        adversary.unmask(index, everybody)
    return adversary


def test_a_u1_without_a_partys_holders_is_what_the_floor_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert alone_in_its_u1().breaks(1) == []
    monkeypatch.setattr(Prepared, "_check_holders", lambda state, living: None)
    attacked = alone_in_its_u1()
    assert attacked.breaks(1) == [(attacked.honest[0],)]


def two_survivor_sets() -> DrawnAdversary:
    """Half of the parties are told that some are dead, and half that they are alive."""
    adversary = DrawnAdversary(9, 6, 4, any_graph(delta=0.45))
    everybody, honest = tuple(range(9)), adversary.honest
    victim, others = honest[0], honest[1:]
    first, second = everybody, all_but(*others[:4], of=everybody)
    for index in everybody:
        adversary.shows(index, 1, everybody)
    for index in honest:
        adversary.trains(index, everybody, content_of(1, 0))
    for index in honest:
        adversary.confirm(index, first if index in others[:4] else second)
    for index in honest:
        adversary.unmask(index, first if index in others[:4] else second)
    assert victim in adversary.honest
    return adversary


def test_two_survivor_sets_are_what_the_quorum_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the shares for both add up: of somebody the b is known from one half, and of its partners the z from the other."""
    for _ in range(3):
        attacked = two_survivor_sets()
        assert attacked.sums(1) == set()
    monkeypatch.setattr(Policy, "quorum", lambda policy, n: 1)
    assert any(two_survivor_sets().breaks(1) for _ in range(40))


def two_cohorts() -> DrawnAdversary:
    """Two cohorts of 13 in one round, each confirmed by parties of its own, and shares of the first released for the second.

    Places: M = 0, 1 in both cohorts; S = 2, 3, 4; L = 5, 6; four more (7..10) stand by S; the second cohort has five others in their stead.
    S draws itself, L and M. The first world: M is not in U1, L drops; S is left with two holders that answer. The second world: M answers
    for S, which it believes to be there. Together that makes four, where only two of each are in S.
    """
    n, k, t = 18, 6, 4
    adversary = DrawnAdversary(n, k, t, any_graph(gamma=0.05, delta=0.4))
    corrupt = adversary.corrupt
    line = all_but(corrupt, of=tuple(range(n)))
    m, s, left, stand_by, spare, others = line[:2], line[2:5], line[5:7], line[7:11], line[11:12], line[12:17]
    ours = tuple(sorted((*m, *s, *left, *stand_by, *spare, corrupt)))
    theirs = tuple(sorted((*m, *others, *s, *left, corrupt)))
    assert len(ours) == len(theirs) == 13
    world_one = (*s, *stand_by)

    def place(party: int, own: int) -> int:
        at = ours.index(party)
        return at - (at > ours.index(own))

    for party in s:
        wanted = (*all_but(party, of=s), *left, *m)
        adversary.party(party)._entropy = drawing(*(place(other, party) for other in wanted))
    for party in left:
        adversary.party(party)._entropy = drawing(*(place(other, party) for other in world_one[:6]))
    for party in stand_by:
        inside = all_but(party, of=stand_by)
        adversary.party(party)._entropy = drawing(*(place(other, party) for other in (*inside, *left, *spare)))
    for index in (*s, *left, *stand_by, *spare, corrupt):
        adversary.shows(index, 1, ours)
    for index in (*m, *others):
        adversary.shows(index, 1, theirs)

    for index in world_one:
        adversary.trains(index, all_but(*m, of=ours), content_of(1, 0), spare)
    for index in (*m, *others):
        adversary.trains(index, theirs, content_of(1, 1), ())
    survivors_one = tuple(sorted((*s, *stand_by, corrupt)))
    survivors_two = tuple(sorted((*m, *others, *s, corrupt)))
    for index in world_one:
        adversary.confirm(index, survivors_one)
    for index in (*m, *others):
        adversary.confirm(index, survivors_two)
    for index in world_one:
        adversary.unmask(index, survivors_one)
    for index in (*m, *others):
        adversary.unmask(index, survivors_two)
    return adversary


def test_two_cohorts_are_what_the_binding_of_shares_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    adversary = two_cohorts()
    assert adversary.breaks(1) == []
    monkeypatch.setattr(RoundFacts, "share_binding", b"")
    attacked = two_cohorts()
    assert attacked.breaks(1) == [attacked.honest[2:5]]
