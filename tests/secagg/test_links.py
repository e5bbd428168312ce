"""The coordinator's tables of who deals to whom, against the same in Python sets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.secagg.drawn import drawn_point
from stfed.secagg.messages import DrawnPrepare, Header, Phase
from stfed.secagg.params import Mode
from stfed.secagg.server.links import Links
from stfed.secagg.transcript import RoundFacts

COHORTS = st.lists(st.integers(0, 500), min_size=4, max_size=14, unique=True).map(lambda parties: tuple(sorted(parties)))


def facts_of(cohort: tuple[int, ...], k: int, mode: Mode) -> RoundFacts:
    return RoundFacts(Header(run=1, epoch=1, round=1), Phase.TRAIN, mode, k, 1, b"", cohort, bytes(32))


def prepare_of(holders: tuple[int, ...]) -> DrawnPrepare:
    return DrawnPrepare(
        header=Header(1, 1, 1), commit_self_seed=bytes(32), commit_box_key=bytes(32), box=b"", dealt=(), holders=holders, others=b""
    )


def check(links: Links, holders: dict[int, tuple[int, ...]], cohort: tuple[int, ...], t: int) -> None:
    """`holders` has everybody who has dealt and is not out."""
    for party in cohort:
        dealers = tuple(sorted(dealer for dealer, chosen in holders.items() if party in chosen))
        assert links.holders(party) == holders.get(party, ())
        assert links.dealers(party) == dealers
        assert links.slots(party) == [holders[dealer].index(party) for dealer in dealers]
        for dealer in dealers:
            assert links.slot(dealer, party) == holders[dealer].index(party)
    among = set(cohort[::2])
    assert links.short_of(among, t) == [dealer for dealer in cohort if dealer in holders and len(among.intersection(holders[dealer])) < t]


@settings(max_examples=60)
@given(COHORTS, st.data())
def test_drawn_graphs(cohort: tuple[int, ...], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(cohort) - 2))
    facts = facts_of(cohort, k, Mode.MALICIOUS)
    assert facts.drawn
    links, holders = Links(facts), dict[int, tuple[int, ...]]()
    order = data.draw(st.permutations(cohort))
    for party in order[: data.draw(st.integers(0, len(cohort)))]:
        others = [other for other in cohort if other != party]
        holders[party] = tuple(sorted(data.draw(st.permutations(others))[:k]))
        links.add(party, prepare_of(holders[party]))
        check(links, holders, cohort, data.draw(st.integers(1, k)))
    for party in cohort:
        neighbours = {*holders.get(party, ()), *(dealer for dealer, chosen in holders.items() if party in chosen)}
        assert links.neighbours(party) == tuple(sorted(neighbours))
        for other in holders.get(party, ()):
            assert links.point(party, other) == drawn_point(cohort.index(other))
            assert links.seed_at(party, other) == [index for index in cohort if index != party].index(other)
    kept = data.draw(st.sets(st.sampled_from(sorted(holders)))) if holders else set()
    links.keep(kept)
    check(links, {party: holders[party] for party in kept}, cohort, 1)


@settings(max_examples=60)
@given(COHORTS, st.data())
def test_graphs_that_follow_from_public_values(cohort: tuple[int, ...], data: st.DataObject) -> None:
    n = len(cohort)
    k = data.draw(st.sampled_from([*range(2, n - 1, 2), n - 1]))
    facts = facts_of(cohort, k, Mode.SEMI_HONEST)
    graph = facts.graph()
    holders = {party: tuple(cohort[at] for at in graph.neighbours(place)) for place, party in enumerate(cohort)}
    links = Links(facts)
    check(links, holders, cohort, k // 2 + 1)
    for dealer, place in links.place.items():
        assert links.neighbours(dealer) == holders[dealer]
        assert all(left < right for left, right in pairwise(holders[dealer]))
        for holder in holders[dealer]:
            assert links.point(dealer, holder) == graph.point(place, links.place[holder])
            assert links.seed_at(dealer, holder) == links.slot(dealer, holder)
    kept = data.draw(st.sets(st.sampled_from(cohort)))
    links.keep(kept)
    check(links, {party: holders[party] for party in kept}, cohort, 1)


def test_who_holds_no_share_has_no_place() -> None:
    links = Links(facts_of(tuple(range(6)), 2, Mode.SEMI_HONEST))
    stranger = next(party for party in range(6) if party not in links.holders(0))
    with pytest.raises(ValueError, match="not in tuple"):
        links.slot(0, stranger)
    drawn = Links(facts_of(tuple(range(6)), 2, Mode.MALICIOUS))
    with pytest.raises(ValueError, match="not in tuple"):
        drawn.slot(0, 1)
