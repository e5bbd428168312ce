"""How likely a round fails where everybody drops by chance: against every possible set of drops, real graphs and real rounds."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb, inf, log2

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, TensorSpec, Vector
from stfed.errors import LocalError, QuorumError
from stfed.secagg.drawn import draw_holders
from stfed.secagg.dropping import default_floor, least_parties, log2_failure
from stfed.secagg.graph import make_graph
from stfed.secagg.params import Mode, Parameters, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import LocalProtocol, scripted_entropy

RATES = st.fractions(min_value=Fraction(1, 1000), max_value=Fraction(999, 1000))


def holders_of(parameters: Parameters, seed: str = "") -> list[frozenset[int]]:
    """Whose shares are with whom, in one real graph."""
    n, k = parameters.n, parameters.k
    if parameters.graph == "k-out":
        return [frozenset(draw_holders(n, own, k, scripted_entropy(f"{seed}/{own}"))) for own in range(n)]
    graph = make_graph(n, k, seed.encode().ljust(32, b"."))
    return [frozenset(graph.neighbours(own).tolist()) for own in range(n)]


def fails(parameters: Parameters, floor: int, holders: list[frozenset[int]], gone: frozenset[int]) -> bool:
    """What the protocol asks for, said once more in plain words."""
    staying = frozenset(range(parameters.n)) - gone
    if len(staying) < max(floor, parameters.quorum or 0):
        return True
    return any(len(holding & staying) < parameters.t for holding in holders)


def exact(parameters: Parameters, floor: int, rate: Fraction, holders: list[frozenset[int]]) -> Fraction:
    """The probability, over every set of drops."""
    n, total = parameters.n, Fraction(0)
    for dropped in range(n + 1):
        sets = sum(fails(parameters, floor, holders, frozenset(gone)) for gone in combinations(range(n), dropped))
        total += sets * rate**dropped * (1 - rate) ** (n - dropped)
    return total


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 9), mode=st.sampled_from(Mode), rate=RATES, floor=st.integers(2, 9))
def test_on_the_complete_graph_it_is_the_probability(n: int, mode: Mode, rate: Fraction, floor: int) -> None:
    parameters = choose(n, 0.0, 0.1, mode=mode, graph="complete")
    floor = min(floor, n)
    found = exact(parameters, floor, rate, holders_of(parameters))
    assert log2_failure(parameters, rate, floor) == pytest.approx(log2(found), abs=1e-9)


@settings(max_examples=12, deadline=None)
@given(shape=st.sampled_from([(10, 4, 2), (10, 6, 3), (11, 4, 3), (11, 8, 4)]), rate=RATES, seed=st.text("ab", max_size=3))
def test_on_a_ring_it_is_an_upper_bound(shape: tuple[int, int, int], rate: Fraction, seed: str) -> None:
    n, k, t = shape
    parameters = choose(n, 0.0, 0.0, graph="sparse", k=k, t=t)
    found = exact(parameters, 4, rate, holders_of(parameters, seed))
    bound = log2_failure(parameters, rate, 4)
    assert log2(found) <= bound + 1e-9
    assert bound <= log2(found) + log2(n) + 1e-9 or bound == pytest.approx(0.0)


def test_where_holders_are_drawn_it_is_an_upper_bound() -> None:
    parameters, rate, tries = choose(129, 0.0, 0.1, mode=Mode.MALICIOUS), Fraction(2, 5), 400
    assert parameters.graph == "k-out"
    floor, random = least_parties(parameters, 2), np.random.default_rng(7)
    lost = 0
    for trial in range(tries):
        holders = holders_of(parameters, str(trial % 3))
        gone = frozenset(np.flatnonzero(random.random(129) < float(rate)).tolist())
        lost += fails(parameters, floor, holders, gone)
    assert 0 < lost < tries
    bound = 2.0 ** log2_failure(parameters, rate, floor)
    assert lost / tries <= bound + 3 * (0.25 / tries) ** 0.5


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(33, 400),
    rate=RATES,
    delta=st.sampled_from([0.02, 0.05, 0.1, 0.3]),
    above=st.none() | st.floats(0, 1),
)
@example(n=400, rate=Fraction(1, 10_000), delta=0.3, above=0.6)
def test_walking_out_from_the_peaks_is_the_whole_sum(n: int, rate: Fraction, delta: float, above: float | None) -> None:
    """At the default floor, and at others, where the jump to certainty lies beyond the peak of the rest."""
    parameters = choose(n, 0.05, delta)
    floor, others = default_floor(parameters), n - 1
    floor += 0 if above is None else int(above * (n - floor))
    total = Fraction(0)
    for dropped in range(n + 1):
        alive = n - 1 - dropped
        short = Fraction(1)
        if n - dropped >= least_parties(parameters, floor):
            k, t = parameters.k, parameters.t
            few = sum(comb(alive, x) * comb(others - alive, k - x) for x in range(t) if k - x >= 0)
            short = min(Fraction(1), n * Fraction(few, comb(others, k)))
        total += comb(n, dropped) * rate**dropped * (1 - rate) ** (n - dropped) * short
    logarithm = log2(total.numerator) - log2(total.denominator)  # as a float it may be 0
    assert log2_failure(parameters, rate, floor) == pytest.approx(logarithm, abs=1e-6)


def test_real_rounds_fail_exactly_where_it_is_counted() -> None:
    """Every set of drops of a cohort of five, each in a round of its own: who has dealt its shares and is gone after it."""
    n, floor = 5, 3
    parameters = choose(n, 0.1, 0.1)
    assert default_floor(parameters) == floor
    plan = EncodingPlan((TensorSpec("w", "float32", (2,)),), parties=n, ring_bits=32, metric_slots=0)
    protocol = LocalProtocol(n, seed="drops")

    def vector(_: int) -> Vector:
        return Vector(np.zeros(plan.vector_length, plan.lane), np.zeros(plan.wide_length, np.uint32))

    for gone in (frozenset(some) for dropped in range(n + 1) for some in combinations(range(n), dropped)):
        expected = fails(parameters, floor, holders_of(parameters), gone)
        try:
            protocol.sum_round(plan, parameters, vector, drops={"train": gone})
            failed = False
        except QuorumError:
            failed = True
        assert failed == expected, gone


def test_fewer_than_the_quorum_never_finish() -> None:
    parameters = choose(200, 0.1, 0.05, mode=Mode.MALICIOUS)
    assert parameters.quorum is not None
    assert least_parties(parameters, 2) == parameters.quorum > parameters.t
    assert least_parties(parameters, 190) == 190


@pytest.mark.parametrize("mode", Mode)
def test_the_floor_is_that_of_the_default_policy(mode: Mode) -> None:
    for n, gamma, delta in ((10, 0.1, 0.1), (40, 0.05, 0.1), (200, 0.1, 0.05), (500, 0.02, 0.02)):
        parameters = choose(n, gamma, delta, mode=mode)
        assert default_floor(parameters) == Policy(mode=mode, gamma=gamma, delta=delta).floor(n, parameters.k)


def test_the_ends() -> None:
    parameters = choose(20, 0.1, 0.1)
    floor = default_floor(parameters)
    assert log2_failure(parameters, Fraction(0), floor) == -inf
    assert log2_failure(parameters, Fraction(1), floor) == 0.0
    rates = [log2_failure(parameters, Fraction(at, 100), floor) for at in range(1, 100)]
    assert rates == sorted(rates)
    assert log2_failure(choose(1 << 20, 0.05, 0.05), Fraction(1, 50), 0) < -30
    for wrong in (Fraction(-1, 10), Fraction(11, 10)):
        with pytest.raises(LocalError, match="is no probability"):
            log2_failure(parameters, wrong, floor)
    with pytest.raises(LocalError, match="than a double can tell"):
        log2_failure(parameters, 1 - Fraction(1, 10**30), floor)
