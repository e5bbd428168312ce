"""Drawing share-holders: uniform, from the party's own randomness, and at points that nobody has to be told."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto.random import system_entropy
from stfed.errors import LocalError
from stfed.secagg.drawn import MAX_DRAWN_PARTIES, draw_holders, drawn_point
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import Mode
from stfed.secagg.transcript import RoundFacts
from stfed.testing.protocol import scripted_entropy


@given(st.data())
def test_k_others_ascending_from_the_entropy_alone(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 300))
    own, k, seed = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n - 1)), data.draw(st.text(max_size=5))
    drawn = draw_holders(n, own, k, scripted_entropy(seed))
    assert len(set(drawn)) == k
    assert list(drawn) == sorted(drawn)
    assert own not in drawn
    assert set(drawn) <= set(range(n))
    assert drawn == draw_holders(n, own, k, scripted_entropy(seed))


def test_every_set_is_drawn_equally_often() -> None:
    """Chi-squared over all C(6, 3) = 20 sets: 19 degrees of freedom are above 60 once in 4 million."""
    n, own, k, times = 7, 2, 3, 20_000
    entropy = scripted_entropy("uniform")
    found = Counter(draw_holders(n, own, k, entropy) for _ in range(times))
    wanted = set(combinations([place for place in range(n) if place != own], k))
    assert set(found) == wanted
    expected = times / comb(n - 1, k)
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 60


def test_the_whole_cohort_can_be_drawn_and_words_that_are_no_place_are_drawn_again() -> None:
    stream = iter([b"\xff\xff\xff\xff" * 10, b"\x00\x00\x00\x00" * 10, *(bytes((place, 0, 0, 0)) * 2 * (5 - place) for place in range(5))])
    asked: list[int] = []

    def entropy(size_bytes: int, /) -> bytes:
        asked.append(size_bytes)
        return next(stream)[:size_bytes]

    assert draw_holders(6, 0, 5, entropy) == (1, 2, 3, 4, 5)  # 7 is no place of five, and 0 was drawn before
    assert asked[0] == 4 * 2 * 5


def test_draws_are_independent_of_each_other() -> None:
    draws = {draw_holders(1000, 3, 62, system_entropy) for _ in range(50)}
    assert len(draws) == 50
    overlap = [len(set(one) & set(other)) for one, other in combinations(draws, 2)]
    assert 2 < sum(overlap) / len(overlap) < 6  # 62 * 62 / 999 = 3.8


@settings(max_examples=20, deadline=None)
@given(st.integers(0, MAX_DRAWN_PARTIES - 1))
def test_the_largest_cohort(own: int) -> None:
    drawn = draw_holders(MAX_DRAWN_PARTIES, own, 80, scripted_entropy(str(own)))
    assert len({*drawn, own}) == 81
    assert max(map(drawn_point, drawn)) <= 65520
    assert min(map(drawn_point, drawn)) >= 1


@pytest.mark.parametrize(("n", "own", "k"), [(5, 0, 5), (5, 0, 0), (5, 5, 2), (5, -1, 2), (1, 0, 1), (MAX_DRAWN_PARTIES + 1, 0, 80)])
def test_what_cannot_be_drawn(n: int, own: int, k: int) -> None:
    with pytest.raises(LocalError, match=f"party {own} cannot draw k = {k} holders in a cohort of {n}"):
        draw_holders(n, own, k, system_entropy)


def test_there_is_no_graph_to_compute_where_parties_draw() -> None:
    def facts(mode: Mode, k: int) -> RoundFacts:
        return RoundFacts(Header(7, 1, 3), Phase.TRAIN, mode, k, 3, b"plan", tuple(range(7)), bytes(range(32)))

    sparse = facts(Mode.MALICIOUS, 4)
    assert sparse.drawn
    assert sparse.share_binding == bytes(range(32))
    with pytest.raises(LocalError, match="drawn by the parties"):
        sparse.graph()
    for other in (facts(Mode.MALICIOUS, 6), facts(Mode.SEMI_HONEST, 4)):
        assert not other.drawn
        assert other.share_binding == b""
        assert other.graph().k == other.k
