"""The tails against exact rational arithmetic, the bounds against enumeration."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb, inf, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.secagg.tails import ERROR_BITS, honest_floor, log2_binomial, log2_disconnection, log2_lower_tail, log2_upper_tail


def exact_upper_tail(population: int, marked: int, draws: int, least: int) -> Fraction:
    hits = sum(comb(marked, x) * comb(population - marked, draws - x) for x in range(max(0, least), draws + 1))
    return Fraction(hits, comb(population, draws))


def exact_log2(probability: Fraction) -> float:
    return -inf if probability == 0 else log2(probability.numerator) - log2(probability.denominator)


def assert_close(got: float, exact: Fraction, error_bits: float) -> None:
    expected = exact_log2(exact)
    assert got == expected if expected == -inf else abs(got - expected) < error_bits, (got, expected)


@st.composite
def urns(draw: st.DrawFn, largest: int = 400) -> tuple[int, int, int, int]:
    population = draw(st.integers(0, largest))
    marked = draw(st.integers(0, population))
    draws = draw(st.integers(0, population))
    return population, marked, draws, draw(st.integers(-2, draws + 2))


@given(urns())
def test_upper_tail_is_exact_to_1e_9_bits(urn: tuple[int, int, int, int]) -> None:
    assert_close(log2_upper_tail(*urn), exact_upper_tail(*urn), 1e-9)


@given(urns())
def test_lower_tail_is_exact_to_1e_9_bits(urn: tuple[int, int, int, int]) -> None:
    population, marked, draws, most = urn
    assert_close(log2_lower_tail(*urn), 1 - exact_upper_tail(population, marked, draws, most + 1), 1e-9)


@settings(max_examples=30)
@given(urns(largest=2000))
def test_upper_tail_is_exact_to_1e_9_bits_for_larger_urns(urn: tuple[int, int, int, int]) -> None:
    assert_close(log2_upper_tail(*urn), exact_upper_tail(*urn), 1e-9)


@pytest.mark.parametrize(
    ("population", "marked", "draws", "least"),
    [
        (10**6 - 1, 50_000, 44, 24),
        (10**6 - 1, 200_000, 160, 83),
        (10**6 - 1, 200_000, 696, 240),
        (10**6 - 1, 333_333, 1200, 560),
        (10**6 - 1, 500_000, 1200, 480),
        (10**6 - 1, 3, 1200, 2),
        (10**6 - 1, 999_990, 1200, 1199),
    ],
)
def test_a_million_parties_stay_within_the_stated_error(population: int, marked: int, draws: int, least: int) -> None:
    assert_close(log2_upper_tail(population, marked, draws, least), exact_upper_tail(population, marked, draws, least), ERROR_BITS / 10)


@given(urns())
def test_certain_is_0_and_impossible_is_minus_infinity(urn: tuple[int, int, int, int]) -> None:
    population, marked, draws, least = urn
    exact = exact_upper_tail(*urn)
    got = log2_upper_tail(population, marked, draws, least)
    assert got <= 0.0
    assert (got == -inf) == (exact == 0)
    if exact == 1:
        assert got == 0.0


@given(st.integers(1, 200), st.data())
def test_drawing_everybody_is_decided_without_rounding(population: int, data: st.DataObject) -> None:
    marked = data.draw(st.integers(0, population))
    least = data.draw(st.integers(0, population))
    assert log2_upper_tail(population, marked, population, least) == (0.0 if least <= marked else -inf)


@given(urns(largest=120))
def test_the_tail_falls_with_the_count_and_rises_with_the_draws(urn: tuple[int, int, int, int]) -> None:
    population, marked, draws, least = urn
    assert log2_upper_tail(population, marked, draws, least + 1) <= log2_upper_tail(*urn) + 1e-9
    if draws < population:
        assert log2_upper_tail(population, marked, draws + 1, least) >= log2_upper_tail(*urn) - 1e-9


@given(st.integers(0, 300), st.integers(-3, 303))
def test_binomials(n: int, k: int) -> None:
    assert_close(log2_binomial(n, k), Fraction(comb(n, k) if k >= 0 else 0), 1e-9)


def ring_falls_apart(n: int, k: int, gone: frozenset[int]) -> bool:
    left = set(range(n)) - gone
    if not left:
        return False
    seen, front = set(), {min(left)}
    while front:
        seen |= front
        front = {(i + step) % n for i in front for step in range(-(k // 2), k // 2 + 1)} & left - seen
    return seen != left


@pytest.mark.parametrize(("n", "k"), [(n, k) for n in range(4, 12) for k in range(2, n - 1, 2)])
def test_the_connectivity_bound_covers_every_way_to_cut_a_ring(n: int, k: int) -> None:
    for bad in range(n + 1):
        cuts = sum(ring_falls_apart(n, k, frozenset(gone)) for gone in itertools.combinations(range(n), bad))
        bound = log2_disconnection(n, k, bad)
        assert exact_log2(Fraction(cuts, comb(n, bad))) <= bound + 1e-9
        if bad < k:
            assert bound == -inf


@given(st.integers(4, 400), st.data())
def test_the_connectivity_bound_is_its_formula_and_falls_with_k(n: int, data: st.DataObject) -> None:
    k = 2 * data.draw(st.integers(1, (n - 2) // 2))
    bad = data.draw(st.integers(0, n))
    ways = comb(n - k, bad - k) if bad >= k else 0
    exact = min(Fraction(1), Fraction(n * (n - k - 1), 2) * Fraction(ways, comb(n, bad)))
    assert_close(log2_disconnection(n, k, bad), exact, 1e-9)
    assert log2_disconnection(n, k + 2, bad) <= log2_disconnection(n, k, bad) + 1e-9


def test_a_complete_graph_cannot_fall_apart() -> None:
    assert all(log2_disconnection(n, n - 1, bad) == -inf for n in range(2, 20) for bad in range(n + 1))


@pytest.mark.parametrize(
    ("n", "corrupt", "k", "t", "expected"),
    [
        (100, 5, 16, 11, 49),
        (200, 10, 32, 22, 114),
        (500, 25, 52, 36, 302),
        (1000, 50, 62, 43, 612),
        (1000, 100, 114, 78, 561),
        (10_000, 500, 76, 52, 6073),
        (10_000, 500, 300, 200, 6049),
    ],
)
def test_the_published_honest_floors(n: int, corrupt: int, k: int, t: int, expected: int) -> None:
    assert honest_floor(n, corrupt, k, t, 40) == expected


def exact_honest_floor(n: int, corrupt: int, k: int, t: int, sigma: int, slack: Fraction = Fraction(0)) -> int:
    allowed, total = Fraction(1, 2 ** (sigma + 1)) * (1 - slack), Fraction(0)
    for size in range(1, n - corrupt + 1):
        total += comb(n - corrupt, size) * exact_upper_tail(n - 1, size - 1 + corrupt, k, t) ** size
        if total > allowed:
            return size - 1
    raise AssertionError("all honest parties together can always be summed")


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.data())
def test_the_honest_floor_is_the_rational_one(n: int, data: st.DataObject) -> None:
    corrupt = data.draw(st.integers(0, n - 2))
    k = data.draw(st.integers(1, n - 1))
    t = data.draw(st.integers(1, k))
    sigma = data.draw(st.sampled_from((3, 10, 40)))
    # Where the sum meets the limit exactly, or within the stated error, the floats take the safe side.
    slack = Fraction(1, 10_000)
    allowed = {exact_honest_floor(n, corrupt, k, t, sigma), exact_honest_floor(n, corrupt, k, t, sigma, slack)}
    assert honest_floor(n, corrupt, k, t, sigma) in allowed


@given(st.integers(2, 60), st.data())
def test_on_the_complete_graph_the_honest_floor_is_what_is_missing_to_t(n: int, data: st.DataObject) -> None:
    corrupt = data.draw(st.integers(0, n - 1))
    t = data.draw(st.integers(1, n - 1))
    assert honest_floor(n, corrupt, n - 1, t, 40) == max(0, t - corrupt)
