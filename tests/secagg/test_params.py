"""The calculator: its published table, its decisions against exact rational arithmetic, and every refusal."""

from __future__ import annotations

import dataclasses
import time
from fractions import Fraction
from math import ceil, comb, floor, inf, log2

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.secagg import params
from stfed.secagg.conditions import H_MIN, MAX_NEIGHBOURS, Conditions
from stfed.secagg.drawn import MAX_DRAWN_PARTIES
from stfed.secagg.params import MALICIOUS_COMPLETE_UP_TO, Mode, Parameters, accepts, choose, corrupt_parties, dropped_parties
from stfed.secagg.tails import MAX_POPULATION

SH, MAL = Mode.SEMI_HONEST, Mode.MALICIOUS
SIGMA = {SH: 40, MAL: 40 - 24}
"""What gives 40 bits to one PREPARE, as the published tables have it: in malicious mode stfed adds 24 for all PREPAREs of a run."""
THIRD = Fraction(1, 3)
COHORTS = (50, 100, 200, 500, 1000, 10**4, 10**5, 10**6)
TABLE: list[tuple[Fraction, str, Mode, str]] = [
    (Fraction("0"), ".05", SH, "4,2 8,2 12,2 14,2 14,2 16,2 18,2 20,2"),
    (Fraction(".05"), ".05", SH, "6,3 12,6 22,11 30,16 34,18 38,21 40,22 44,24"),
    (Fraction(".05"), ".05", MAL, "8,6 16,11 32,22 52,36 62,43 74,51 80,55"),
    (Fraction(".10"), ".10", SH, "12,6 22,11 36,19 46,25 52,28 60,32 66,35 70,37"),
    (Fraction(".10"), ".10", MAL, "16,11 32,22 60,41 94,64 114,78 144,98 156,106"),
    (Fraction(".20"), ".05", SH, "14,11 26,20 38,28 52,36 60,40 68,46 74,50 80,53"),
    (Fraction(".20"), ".20", SH, "22,11 42,21 68,36 98,51 112,59 136,71 150,78 160,83"),
    (Fraction(".20"), ".20", MAL, "32,22 62,42 122,82 240,162 340,229 566,381 648,436"),
    (Fraction(".333"), ".05", MAL, "22,20 42,37 68,58 122,100 152,124 204,165 224,181"),
]
CELLS = [
    (n, gamma, Fraction(delta), mode, tuple(map(int, cell.split(","))))
    for gamma, delta, mode, row in TABLE
    for n, cell in zip(COHORTS, row.split(), strict=False)
]


@pytest.mark.parametrize(("n", "gamma", "delta", "mode", "expected"), CELLS)
def test_the_published_table(
    n: int, gamma: Fraction, delta: Fraction, mode: Mode, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The table rounds the corrupt count down, stfed up (a fraction of a party is a party): ask for the table's count.
    if mode is MAL and n > MAX_DRAWN_PARTIES:  # the numbers exist, the points for so many holders do not
        with pytest.raises(LocalError, match="in malicious mode a cohort has at most 65520 parties"):
            choose(n, Fraction(floor(gamma * n), n), delta, mode=mode)
        monkeypatch.setattr("stfed.secagg.conditions.MAX_DRAWN_PARTIES", n)
        rules = Conditions(n, floor(gamma * n), floor(delta * n), True, 40, 30)
        k = rules.smallest_degree(None)
        assert k is not None
        assert (k, rules.best_threshold(k)) == expected
        return
    found = choose(n, Fraction(floor(gamma * n), n), delta, mode=mode, graph="sparse", sigma=SIGMA[mode])
    assert (found.k, found.t) == expected
    assert found.graph == ("harary" if mode is SH else "k-out")
    if mode is SH or n > MALICIOUS_COMPLETE_UP_TO:
        assert choose(n, Fraction(floor(gamma * n), n), delta, mode=mode, sigma=SIGMA[mode]) == found


@pytest.mark.parametrize(
    ("n", "gamma", "delta", "mode", "expected"),
    [
        (50, 0.05, 0.05, SH, (6, 4)),
        (50, 0.05, 0.05, MAL, (8, 6)),
        (100, THIRD, 0.05, MAL, (44, 39)),
        (200, THIRD, 0.05, MAL, (70, 60)),
        (500, THIRD, 0.05, MAL, (124, 102)),
        (1000, THIRD, 0.05, MAL, (152, 124)),
        (10**4, THIRD, 0.05, MAL, (206, 167)),
    ],
)
def test_where_the_corrupt_count_rounds_up(n: int, gamma: float, delta: float, mode: Mode, expected: tuple[int, int]) -> None:
    found = choose(n, gamma, delta, mode=mode, graph="sparse", sigma=SIGMA[mode])
    assert (found.k, found.t) == expected


@pytest.mark.parametrize(
    ("n", "mode", "expected"), [(1000, SH, (30, 17)), (1000, MAL, (52, 37)), (10**4, SH, (34, 20)), (10**4, MAL, (62, 44))]
)
def test_twenty_bits_of_correctness_give_the_deployed_numbers(n: int, mode: Mode, expected: tuple[int, int]) -> None:
    found = choose(n, 0.05, 0.05, mode=mode, eta=20, sigma=SIGMA[mode])
    assert (found.k, found.t) == expected


@pytest.mark.parametrize(("n", "expected"), [(100, 49), (200, 114), (500, 302), (1000, 612)])
def test_malicious_parameters_carry_the_alpha_bound(n: int, expected: int) -> None:
    found = choose(n, 0.05, 0.05, mode=MAL, graph="sparse", sigma=SIGMA[MAL])
    assert found.honest_floor == expected
    assert found.quorum == (n + found.corrupt) // 2 + 1


def test_all_fields() -> None:
    assert choose(100, 0.1, 0.1, graph="complete", mode=MAL, roster=120) == Parameters(
        n=100,
        k=99,
        t=56,
        mode=MAL,
        graph="complete",
        gamma=0.1,
        delta=0.1,
        roster=120,
        corrupt=12,
        dropouts=10,
        sigma=40,
        eta=30,
        log2_connectivity=-inf,
        log2_secrecy=-inf,
        log2_correctness=-inf,
        min_survivors=90,
        quorum=57,
        honest_floor=44,
    )
    semi_honest = choose(1000, 0.05, 0.05)
    assert semi_honest.quorum is None
    assert semi_honest.honest_floor is None
    assert -inf < semi_honest.log2_secrecy <= -41
    assert -inf < semi_honest.log2_connectivity <= -41
    assert -inf < semi_honest.log2_correctness <= -30


# --- exact rational arithmetic ---------------------------------------------------------------------------------------------------


def exact_tail(population: int, marked: int, draws: int, least: int) -> Fraction:
    hits = sum(comb(marked, x) * comb(population - marked, draws - x) for x in range(max(0, least), draws + 1))
    return Fraction(hits, comb(population, draws))


def exactly_holds(n: int, corrupt: int, dropouts: int, mode: Mode, sigma: int, eta: int, k: int, t: int, h_min: int = H_MIN) -> bool:
    """All conditions, in fractions, from their definitions."""
    security, bad = Fraction(1, 2 ** (sigma + 1)), min(n, corrupt + dropouts)
    if mode is MAL and (n + corrupt) // 2 + 1 > n - dropouts:
        return False
    if not min(2, k) <= t <= k:
        return False
    if k == n - 1:
        secret = t > corrupt if mode is SH else 2 * t > k + corrupt
        return secret and t <= n - 1 - dropouts
    if mode is MAL:
        sets = (comb(n - corrupt, size) * exact_tail(n - 1, size - 1 + corrupt, k, t) ** size for size in range(1, h_min))
        if sum(sets, Fraction(0)) > security:
            return False
    elif bad >= k and Fraction(n * (n - k - 1), 2) * Fraction(comb(n - k, bad - k), comb(n, bad)) > security:
        return False
    needed = t if mode is SH else 2 * t - k
    if n * exact_tail(n - 1, min(corrupt, n - 1), k, needed) > security:
        return False
    survivors = sum((exact_pmf(n - 1, n - 1 - dropouts, k, x) for x in range(t)), Fraction(0))
    return n * survivors <= Fraction(1, 2**eta)


def exact_pmf(population: int, marked: int, draws: int, x: int) -> Fraction:
    return Fraction(comb(marked, x) * comb(population - marked, draws - x), comb(population, draws)) if draws >= x else Fraction(0)


def holds(n: int, corrupt: int, dropouts: int, mode: Mode, sigma: int, eta: int, k: int, t: int) -> bool:
    rules = Conditions(n, corrupt, dropouts, mode is MAL, sigma, eta)
    try:
        rules.require_quorum()
        rules.require(k, t)
    except LocalError:
        return False
    return True


@st.composite
def cohorts(draw: st.DrawFn, largest: int = 60) -> tuple[int, int, int, Mode, int, int]:
    """Low security levels too: at n <= 60 only those leave something to chance. No probability is exactly the allowed one at these."""
    n = draw(st.integers(4, largest))
    corrupt, dropouts = draw(st.integers(0, n // 2)), draw(st.integers(0, n // 2))
    return (
        n,
        corrupt,
        dropouts,
        draw(st.sampled_from(Mode)),
        draw(st.sampled_from((3, 7, 10, 20, 40))),
        draw(st.sampled_from((2, 6, 15, 30))),
    )


@settings(max_examples=400, deadline=None)
@given(cohorts(), st.data())
def test_each_decision_is_the_rational_one(cohort: tuple[int, int, int, Mode, int, int], data: st.DataObject) -> None:
    n = cohort[0]
    k = data.draw(st.sampled_from([*range(2, n - 1, 2), n - 1]))
    t = data.draw(st.integers(1, k))
    assert holds(*cohort, k, t) == exactly_holds(*cohort, k, t)


@settings(max_examples=200, deadline=None)
@given(cohorts(), st.data())
def test_the_reported_probabilities_are_the_rational_ones(cohort: tuple[int, int, int, Mode, int, int], data: st.DataObject) -> None:
    n, corrupt, dropouts, mode, sigma, eta = cohort
    k = data.draw(st.sampled_from([*range(2, n - 1, 2), n - 1]))
    t = data.draw(st.integers(1, k))
    rules = Conditions(n, corrupt, dropouts, mode is MAL, sigma, eta)
    secrecy = n * exact_tail(n - 1, corrupt, k, t if mode is SH else 2 * t - k)
    correctness = n * exact_tail(n - 1, dropouts, k, k - t + 1)
    for reported, exact in ((rules.log2_secrecy(k, t), secrecy), (rules.log2_correctness(k, t), correctness)):
        assert reported == (-inf if exact == 0 else pytest.approx(log2(min(exact, Fraction(1))), abs=1e-9))
    smallest, largest = rules.smallest_secret(k), rules.largest_correct(k)
    assert rules.log2_secrecy(k, smallest) < -sigma - 1
    assert smallest <= 2 or rules.log2_secrecy(k, smallest - 1) > -sigma - 1
    assert largest == 0 or rules.log2_correctness(k, largest) < -eta
    assert largest == k or rules.log2_correctness(k, largest + 1) > -eta


@settings(max_examples=60, deadline=None)
@given(cohorts(largest=40))
def test_the_jumping_scan_finds_the_smallest_k_and_t(cohort: tuple[int, int, int, Mode, int, int]) -> None:
    n, corrupt, dropouts, mode, sigma, eta = cohort
    rules = Conditions(n, corrupt, dropouts, mode is MAL, sigma, eta)
    assume(mode is SH or rules.quorum <= n - dropouts)
    all_pairs = ((k, t) for k in range(2, n - 1, 2) for t in range(1, k + 1))
    expected = next((pair for pair in all_pairs if exactly_holds(*cohort, *pair)), None)
    found = rules.smallest_degree(None)
    assert (None if found is None else (found, rules.best_threshold(found))) == expected


@settings(max_examples=60, deadline=None)
@given(cohorts(largest=30), st.integers(1, 20))
def test_the_jumping_scan_finds_the_smallest_k_for_a_given_t(cohort: tuple[int, int, int, Mode, int, int], t: int) -> None:
    n, corrupt, dropouts, mode, sigma, eta = cohort
    rules = Conditions(n, corrupt, dropouts, mode is MAL, sigma, eta)
    assume(mode is SH or rules.quorum <= n - dropouts)
    assert rules.smallest_degree(t) == next((k for k in range(2, n - 1, 2) if exactly_holds(*cohort, k, t)), None)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("graph", ["auto", "complete"])
@pytest.mark.parametrize("n", range(2, 41))
def test_small_cohorts_get_what_exists_and_a_refusal_otherwise(n: int, graph: params.GraphChoice, mode: Mode) -> None:
    for gamma in ("0", "0.05", "0.1", "0.2", "0.3", "0.4", "0.5", "0.9"):
        for delta in ("0", "0.05", "0.1", "0.2", "0.34", "0.5", "0.9"):
            corrupt, dropouts = ceil(Fraction(gamma) * n), floor(Fraction(delta) * n)
            try:
                found = choose(n, Fraction(gamma), Fraction(delta), mode=mode, graph=graph)
            except LocalError:
                # The complete graph is the last resort of both: no threshold at all may work there.
                assert not any(exactly_holds(n, corrupt, dropouts, mode, 40, 30, n - 1, t) for t in range(1, n))
                continue
            assert (found.corrupt, found.dropouts, found.min_survivors) == (corrupt, dropouts, n - dropouts)
            assert exactly_holds(n, corrupt, dropouts, mode, 40, 30, found.k, found.t)
            assert found.min_survivors - corrupt >= 2  # a sum never has one honest input
            if n <= 32 or graph == "complete":
                assert (found.graph, found.k) == ("complete", n - 1)
                assert 2 * found.t > found.k or found.k // 2 + 1 > n - 1 - dropouts


@settings(max_examples=100, deadline=None)
@given(st.integers(33, 3000), st.integers(0, 20), st.integers(0, 20), st.sampled_from(Mode))
def test_more_to_withstand_never_takes_fewer_neighbours(n: int, corrupt: int, dropouts: int, mode: Mode) -> None:
    def degree(corrupt: int, dropouts: int, sigma: int = 40, eta: int = 30) -> float:
        found = Conditions(n, corrupt, dropouts, mode is MAL, sigma, eta).smallest_degree(None)
        return inf if found is None else found

    here = degree(corrupt, dropouts)
    assert degree(corrupt + 1, dropouts) >= here
    assert degree(corrupt, dropouts + 1) >= here
    assert degree(corrupt, dropouts, sigma=50) >= here
    assert degree(corrupt, dropouts, eta=40) >= here
    assert degree(corrupt, dropouts, sigma=20, eta=20) <= here


# --- counts, graphs, given k and t -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "gamma", "roster", "expected"),
    [
        (30, 0.1, None, 3),
        (1000, 0.05, None, 50),
        (3, 0.1, None, 1),
        (10, 0.1, 50, 5),
        (10, 0.3, 100, 10),
        (7, 0, None, 0),
        (30, THIRD, None, 10),
    ],
)
def test_corrupt_parties_round_up_in_exact_arithmetic(n: int, gamma: float, roster: int | None, expected: int) -> None:
    assert corrupt_parties(n, gamma, roster) == expected


def test_float_products_would_have_rounded_differently() -> None:
    assert ceil(0.07 * 100) == 8
    assert corrupt_parties(100, 0.07) == 7
    assert floor(0.29 * 100) == 28
    assert dropped_parties(100, 0.29) == 29


@pytest.mark.parametrize(
    ("n", "mode", "expected"),
    [
        (3, SH, (2, 2)),
        (4, SH, (3, 2)),
        (5, SH, (4, 3)),
        (10, SH, (9, 5)),
        (3, MAL, (2, 2)),
        (4, MAL, (3, 3)),
        (10, MAL, (9, 6)),
        (32, SH, (31, 16)),
    ],
)
def test_small_cohorts(n: int, mode: Mode, expected: tuple[int, int]) -> None:
    found = choose(n, 0.1, 0.1, mode=mode)
    assert (found.graph, found.k, found.t) == ("complete", *expected)


def test_two_parties_only_where_neither_is_corrupt() -> None:
    found = choose(2, 0, 0)
    assert (found.k, found.t, found.corrupt) == (1, 1, 0)
    with pytest.raises(LocalError, match=r"t > C = 1.*t <= n-1-D = 1"):
        choose(2, 0.1, 0)


def test_the_complete_graphs_threshold_is_a_majority_if_drops_allow() -> None:
    assert choose(100, 0.1, 0.1, graph="complete").t == 50
    assert choose(100, 0.1, 0.6, graph="complete").t == 11  # only 39 holders are sure to be left


def test_auto_falls_back_to_the_complete_graph() -> None:
    found = choose(40, 0.45, 0.5)
    assert (found.graph, found.k) == ("complete", 39)


def test_given_numbers_are_checked_not_trusted() -> None:
    found = choose(100, 0.1, 0.1, k=99, t=60)
    assert (found.graph, found.k, found.t) == ("complete", 99, 60)
    assert choose(100, 0.1, 0.1, k=30).t == 11
    assert choose(100, 0.1, 0.1, t=20).k == 30
    assert choose(100, 0.1, 0.1, t=60, graph="complete").k == 99


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("n", [3, 10, 33, 100, 1000])
def test_accepts_what_choose_returns_and_one_less_is_refused(n: int, mode: Mode) -> None:
    found = choose(n, 0.1, 0.1, mode=mode, graph="auto")
    accepts(n, found.k, found.t, 0.1, 0.1, mode, None, 40, 30)
    smallest = Conditions(n, found.corrupt, found.dropouts, mode is MAL, 40, 30).smallest_secret(found.k)
    with pytest.raises(LocalError, match=f"t = {smallest - 1} of k = {found.k}"):
        accepts(n, found.k, smallest - 1, 0.1, 0.1, mode)


def test_a_party_recounts_the_corrupt_with_its_own_roster() -> None:
    found = choose(40, 0.1, 0.1, graph="complete")
    assert found.t == 20
    accepts(40, found.k, found.t, 0.1, 0.1, roster=190)
    with pytest.raises(LocalError, match="secrecy: t = 20 of k = 39 for 40 parties with 20 corrupt"):
        accepts(40, found.k, found.t, 0.1, 0.1, roster=191)


def test_a_party_takes_a_sparse_graph_in_malicious_mode_above_128_parties_only() -> None:
    accepts(1000, 70, 50, 0.05, 0.05, MAL)
    with pytest.raises(LocalError, match="secrecy"):  # good for one PREPARE, not for all that a run may have
        accepts(1000, 62, 43, 0.05, 0.05, MAL)
    for n in (100, 128):
        found = choose(n, 0.05, 0.05, mode=MAL, graph="sparse")
        with pytest.raises(
            LocalError, match=f"{found.k} of {n - 1} neighbours in malicious mode: up to 128 parties only the complete graph"
        ):
            accepts(n, found.k, found.t, 0.05, 0.05, MAL)
    found = choose(129, 0.05, 0.05, mode=MAL)
    assert found.graph == "k-out"
    accepts(129, found.k, found.t, 0.05, 0.05, MAL)
    assert choose(128, 0.05, 0.05, mode=MAL).graph == "complete"


def test_a_malicious_coordinator_gets_one_share_holder_too_many_or_one_share_too_few() -> None:
    """62 neighbours and 43 shares are what 1000 parties need; a party refuses every number that is easier for the coordinator."""
    for k, t, condition in ((62, 42, "secrecy"), (62, 44, "correctness"), (60, 42, "no threshold fits"), (62, 31, "secrecy")):
        with pytest.raises(LocalError, match=condition):
            accepts(1000, k, t, 0.05, 0.05, MAL, sigma=SIGMA[MAL])


def test_a_drawn_graph_is_not_asked_whether_a_ring_would_hold() -> None:
    """A ring of 100 with ten neighbours and twenty bad places may fall apart; what a drawn one may reveal is bounded by `isolates`."""
    assert Conditions(100, 10, 10, False, 40, 30).log2_connectivity(10) > -41
    assert Conditions(100, 10, 10, True, 40, 30).log2_connectivity(10) == -inf


def test_neighbours_of_a_drawn_graph_may_be_odd_in_number() -> None:
    assert choose(1000, 0.05, 0.05, mode=MAL, k=71).k == 71
    with pytest.raises(LocalError, match="a ring has as many"):
        choose(1000, 0.05, 0.05, k=63)


def test_a_sum_has_as_many_honest_inputs_as_are_asked_for_or_more_neighbours_are_taken() -> None:
    """Where nobody is corrupt or drops, two neighbours keep both secrets apart, but three parties can draw nobody but each other."""
    smallest = choose(140, 0, 0, mode=MAL, sigma=SIGMA[MAL])
    assert (smallest.k, smallest.t, smallest.honest_floor) == (2, 2, 2)
    more = choose(140, 0, 0, mode=MAL, h_min=60, sigma=SIGMA[MAL])
    assert more.k > 2
    assert more.honest_floor is not None
    assert more.honest_floor + 1 >= 60
    with pytest.raises(LocalError, match=r"isolation: t = 2 of k = 2 .* can be made to reveal a sum of 3 honest inputs, 60 are needed"):
        accepts(140, 2, 2, 0, 0, MAL, h_min=60)
    with pytest.raises(LocalError, match="no sparse graph of 140 parties"):
        choose(140, 0.05, 0.05, mode=MAL, h_min=140, graph="sparse")


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 24), st.integers(0, 4), st.integers(1, 12), st.sampled_from((3, 7, 15)), st.data())
def test_isolation_is_decided_in_fractions(n: int, corrupt: int, h_min: int, sigma: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(2, n - 2))
    t = data.draw(st.integers(1, k))
    rules = Conditions(n, corrupt, 0, True, sigma, 30, h_min)
    assume(h_min <= n - corrupt)
    sets = (comb(n - corrupt, size) * exact_tail(n - 1, size - 1 + corrupt, k, t) ** size for size in range(1, h_min))
    assert rules.isolates(k, t) == (sum(sets, Fraction(0)) > Fraction(1, 2 ** (sigma + 1)))


@pytest.mark.parametrize("n", [65522, 10**5])
def test_a_drawn_cohort_ends_where_the_points_end(n: int) -> None:
    assert choose(65520, 0.05, 0.05, mode=MAL).graph == "k-out"
    with pytest.raises(LocalError, match="at most 65520 parties"):
        choose(n, 0.05, 0.05, mode=MAL)
    with pytest.raises(LocalError, match=f"n = {n}: a cohort that draws its share-holders has at most 65520 parties"):
        accepts(n, 80, 55, 0.05, 0.05, MAL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "a cohort of one"),
        ({"n": 0}, "a cohort of one"),
        ({"n": MAX_POPULATION + 1}, "cohorts go up to"),
        ({"roster": 99}, "a roster of 99 parties cannot give a cohort of 100"),
        ({"gamma": 1.0}, r"gamma = 1.0 is outside \[0, 1\)"),
        ({"gamma": -0.1}, r"gamma = -0.1 is outside \[0, 1\)"),
        ({"delta": float("nan")}, "delta = nan is not a number"),
        ({"delta": float("inf")}, "delta = inf is not a number"),
        ({"sigma": 0}, "sigma = 0 bits"),
        ({"eta": 257}, "eta = 257 bits"),
        ({"graph": "ring"}, "graph is 'ring'"),
        ({"k": 0}, "k = 0 neighbours in a cohort of 100"),
        ({"k": 100}, "k = 100 neighbours in a cohort of 100"),
        ({"k": 21}, "k = 21 neighbours: a ring has as many"),
        ({"k": 30, "graph": "complete"}, "k = 30 of 99 neighbours is no complete graph"),
        ({"k": 99, "graph": "sparse"}, "k = 99 of 99 neighbours is no sparse graph"),
        ({"k": 4}, r"connectivity: with k = 4 neighbours, 100 parties with 10 corrupt and 10 dropping"),
        ({"k": 20}, r"no threshold fits k = 20 .* secrecy needs t >= 11 \(2\^-41\), correctness t <= 10 \(2\^-30\)"),
        ({"k": 30, "t": 1}, "a share of 1-of-k is the secret itself"),
        ({"k": 30, "t": 31}, "t = 31 of k = 30 shares: t is at most k"),
        ({"k": 30, "t": 10}, r"secrecy: t = 10 of k = 30 .* up to 2\^-12\.3, allowed is 2\^-41"),
        ({"k": 30, "t": 21}, r"correctness: t = 21 of k = 30 .* up to 2\^-12\.3, allowed is 2\^-30"),
        ({"k": 99, "t": 10}, "secrecy: t = 10 of k = 99"),
        ({"k": 99, "t": 90}, "correctness: t = 90 of k = 99"),
        ({"gamma": 0.5, "delta": 0.5}, r"t > C = 50, correctness t <= n-1-D = 49"),
        ({"mode": MAL, "gamma": THIRD, "delta": 0.34}, r"quorum: .* = 68 signatures, but of 100 parties .* only n-D = 66"),
        ({"mode": MAL, "gamma": THIRD, "delta": 0.33}, r"quorum: .* = 68 signatures, but of 100 parties .* only n-D = 67"),
        ({"n": 3, "mode": MAL, "gamma": 0.5}, r"2t > k \+ C = 4, correctness t <= n-1-D = 2"),
        ({"gamma": 0.5, "delta": 0.5, "graph": "sparse"}, "no sparse graph of 100 parties with 50 corrupt and 50 dropping"),
        ({"t": 5, "graph": "sparse"}, "no sparse graph .* with t = 5"),
        ({"n": 10**6, "gamma": 0.5, "delta": 0.49}, f"the complete graph ends at {MAX_NEIGHBOURS}"),
        ({"n": 10**6, "graph": "complete"}, f"k = 999999: a secret has at most {MAX_NEIGHBOURS} share-holders"),
    ],
)
def test_refusals_name_the_condition_and_what_to_change(arguments: dict[str, object], message: str) -> None:
    asked: dict[str, object] = {"n": 100, "gamma": 0.1, "delta": 0.1} | arguments
    with pytest.raises(LocalError, match=message) as refusal:
        choose(**asked)  # type: ignore[arg-type]
    assert refusal.value.hint


def test_the_malicious_complete_graph_can_lack_a_threshold_though_the_quorum_is_met() -> None:
    with pytest.raises(LocalError, match=r"2t > k \+ C = 2, correctness t <= n-1-D = 1"):
        choose(2, 0.1, 0, mode=MAL)


def test_calls_are_cached_and_results_frozen() -> None:
    assert choose(1000, 0.05, 0.05) is choose(1000, 0.05, 0.05)
    with pytest.raises(dataclasses.FrozenInstanceError):
        choose(1000, 0.05, 0.05).t = 1  # type: ignore[misc]


def test_the_largest_cohorts_take_no_second() -> None:
    params._choose.cache_clear()
    started = time.process_time()
    choose(10**6, 0.2, 0.2)
    choose(65520, 0.05, 0.05, mode=MAL)
    assert time.process_time() - started < 4  # 0.4 s measured; the machine of a test may be slow


def test_modes_have_the_names_of_the_protocol() -> None:
    assert [mode.value for mode in Mode] == ["semi-honest", "malicious"]
