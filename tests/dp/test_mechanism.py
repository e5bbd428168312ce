"""The Skellam curve: never below the divergence that it bounds, and Gaussian where noise is large."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, rdp
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.dp import Sum, epsilon_of, norm_bound_squared
from stfed.dp.accountant import ORDERS
from stfed.errors import LocalError
from tests.dp.exact import Logs, divergence, log_skellam, log_sum, shifted

VARIANCES = (0.003, 0.1, 1.0, 3.7, 10.0, 100.0, 1000.0)
SHIFTS = (1, 2, 3, 5, 10, 40)
SOME_ORDERS = (2, 3, 4, 8, 16, 32, 64)


def reach(variance: float, shift: int, order: int) -> int:
    """Far enough: the summand peaks near order * shift, and is e^-100 of its peak or less out here."""
    return int(3 * order * shift + 30 * math.sqrt(variance) + 100)


def test_the_probabilities_are_bessel_functions() -> None:
    for variance in (0.1, 3.7, 100.0):
        logs = log_skellam(variance, 200)
        for k in (0, 1, 7, 50):
            exact = mpmath.log(mpmath.besseli(k, variance)) - variance
            assert logs[200 + k] == logs[200 - k] == pytest.approx(float(exact), rel=1e-12, abs=1e-12)
        points = np.arange(-200, 201)
        assert (np.exp(logs) * points**2).sum() == pytest.approx(variance, rel=1e-10)


@pytest.mark.parametrize("variance", VARIANCES)
def test_one_coordinate_is_never_above_the_bound(variance: float) -> None:
    logs = log_skellam(variance, reach(variance, SHIFTS[-1], SOME_ORDERS[-1]))
    for shift in SHIFTS:
        bound = Sum(shift * shift, 1, variance).rdp(SOME_ORDERS)
        for order, most in zip(SOME_ORDERS, bound, strict=True):
            up, here = shifted(logs, shift)
            exact = divergence(up, here, order)
            assert 0 < exact <= most * (1 + 1e-10)
            assert divergence(here, up, order) == pytest.approx(exact, rel=1e-6), "neighbours are symmetric"


@given(st.floats(-3, 3).map(lambda power: 10**power), st.integers(1, 20), st.integers(2, 40))
@settings(max_examples=50, deadline=None)
def test_nor_is_it_for_any_other_variance(variance: float, shift: int, order: int) -> None:
    exact = divergence(*shifted(log_skellam(variance, reach(variance, shift, order)), shift), order)
    gaussian = order * shift**2 / (2 * variance)
    assert exact <= Sum(shift**2, 1, variance).rdp([order])[0] * (1 + 1e-10)
    assert exact <= gaussian * (1 + 1e-6), "what docs/privacy.md says of the second term"


@pytest.mark.parametrize("vector", [(1, 1), (3, 0), (2, -1), (5, 4)])
def test_two_coordinates_summed_over_the_plane(vector: tuple[int, int]) -> None:
    """Not by adding two divergences: over all pairs, so that additivity is not assumed."""
    variance, squared = 6.0, vector[0] ** 2 + vector[1] ** 2
    logs = log_skellam(variance, 150)
    moved = [shifted(logs, abs(x)) for x in vector]
    here = moved[0][1][:, None] + moved[1][1][None, :]
    there = moved[0][0][:, None] + moved[1][0][None, :]
    for order in (2, 3, 5):
        exact = divergence(there.ravel(), here.ravel(), order)
        assert exact <= Sum(squared, 2, variance).rdp([order])[0]


def test_vectors_of_many_coordinates() -> None:
    """Divergences of independent coordinates add up: each way to have a squared norm of 12 or less in ten coordinates."""
    variance, coordinates = 4.0, 10
    logs = log_skellam(variance, 200)
    for order in (2, 4, 8):
        single = {0: 0.0} | {shift: divergence(*shifted(logs, shift), order) for shift in (1, 2, 3)}
        bound = Sum(12, coordinates, variance).rdp([order])[0]
        worst = max(
            sum(single[shift] for shift in vector)
            for vector in itertools.combinations_with_replacement((3, 2, 1, 0), coordinates)
            if sum(shift * shift for shift in vector) <= 12
        )
        assert worst <= bound


def rounded(values: tuple[float, ...], bound: int) -> dict[tuple[int, ...], float]:
    """The distribution of a vector after stochastic rounding, redrawn until its squared norm is within the bound."""
    chances: dict[tuple[int, ...], float] = {}
    for ups in itertools.product((0, 1), repeat=len(values)):
        integers = tuple(math.floor(value) + up for value, up in zip(values, ups, strict=True))
        chance = math.prod((v - math.floor(v)) if up else 1 - (v - math.floor(v)) for v, up in zip(values, ups, strict=True))
        if chance > 0 and sum(x * x for x in integers) <= bound:
            chances[integers] = chances.get(integers, 0.0) + chance
    total = sum(chances.values())
    return {integers: chance / total for integers, chance in chances.items()}


@pytest.mark.parametrize("values", [(0.5, -1.3), (2.2, 1.9), (0.1, 0.0)])
def test_rounding_on_condition_is_as_private_as_its_worst_outcome(values: tuple[float, float]) -> None:
    """The whole mechanism, exactly: round, redraw, add noise. What it releases is a mixture of shifts, and zero has noise alone."""
    bound = norm_bound_squared(math.hypot(*values), 1.0, 2)
    variance, size = 5.0, 121
    logs = log_skellam(variance, 80)

    def noise(x: int) -> Logs:
        return logs[80 - x - size // 2 : 80 - x + size // 2 + 1]

    zero = (noise(0)[:, None] + noise(0)[None, :]).ravel()
    parts = [math.log(chance) + (noise(x)[:, None] + noise(y)[None, :]).ravel() for (x, y), chance in rounded(values, bound).items()]
    mixture = np.logaddexp.reduce(parts)
    assert log_sum(mixture) == pytest.approx(0, abs=1e-6)
    for order in (2, 3, 6):
        most = Sum(bound, 2, variance).rdp([order])[0]
        assert 0 < divergence(mixture, zero, order) <= most
        assert 0 < divergence(zero, mixture, order) <= most


def test_noise_that_is_large_against_one_is_as_good_as_gaussian() -> None:
    """Within a ten-thousandth from a norm of 256 ring units on, within 5 % from 20; the Gaussian curve is dp-accounting's own."""
    for multiplier in (0.6, 1.0, 4.0):
        gaussian = rdp.RdpAccountant(ORDERS)
        gaussian.compose(GaussianDpEvent(multiplier), 20)
        for norm, most in ((20, 1.05), (256, 1.0001), (30_000, 1.0000001)):
            for coordinates in (1, 1_000, 10**7):
                ours = epsilon_of([Sum(norm**2, coordinates, multiplier**2 * norm**2)], 1e-5, 20)
                assert 1 <= ours / gaussian.get_epsilon(1e-5) <= most


def test_the_curve_of_a_small_sum_by_hand() -> None:
    """B2 = 4, d = 9, mu = 2: D1 = min(3 * 2, 4) = 4; at order 3: 3 * 4 / 4 + min((5 * 4 + 24) / 16, 12 / 4) = 3 + 2.75."""
    small = Sum(4, 9, 2.0)
    assert small.l1_bound == 4
    assert small.rdp([3])[0] == 5.75
    assert small.noise_multiplier == math.sqrt(0.5)
    assert Sum(100, 9, 2.0).l1_bound == 30
    assert Sum(4, 9, 0.1).rdp([2])[0] == pytest.approx(2 * 4 / 0.2 + 3 * 4 / 0.2), "little noise: the second of the two"


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.1, 1e6), st.integers(1, 10**6), st.integers(0, 10**6), st.floats(1.001, 10)
)
def test_more_of_anything_but_noise_costs_more(b2: int, d: int, mu: float, more_b2: int, more_d: int, factor: float) -> None:
    orders = (2, 5, 64)
    curve = Sum(b2, d, mu).rdp(orders)
    assert (np.diff(curve) > 0).all()
    assert (Sum(b2 + more_b2, d, mu).rdp(orders) > curve).all()
    assert (Sum(b2, d + more_d, mu).rdp(orders) >= curve).all()
    assert (Sum(b2, d, mu * factor).rdp(orders) < curve).all()


def test_sums_over_parties_of_their_own_cost_as_much_as_the_dearest() -> None:
    """Exactly, for two groups: what is released is a pair, and only one half of it depends on the party."""
    group, other = Sum(9, 1, 5.0), Sum(8, 1, 3.0)
    covering = Sum.covering([group, other])
    orders = (2, 3, 7)
    assert (covering.rdp(orders) >= np.maximum(group.rdp(orders), other.rdp(orders))).all()
    assert Sum.covering([group]) == group
    here, untouched = log_skellam(5.0, 120), log_skellam(3.0, 60)
    for order in orders:
        moved, still = shifted(here, 3)
        pair = [(half[:, None] + untouched[None, :]).ravel() for half in (moved, still)]
        assert divergence(pair[0], pair[1], order) == pytest.approx(divergence(moved, still, order))
        assert divergence(pair[0], pair[1], order) <= covering.rdp([order])[0]
    with pytest.raises(LocalError, match="none"):
        Sum.covering([])


@given(st.integers(1, 10**12), st.integers(1, 10**9), st.floats(1e-2, 1e4))
def test_of_all_sums_with_a_noise_multiplier_the_smallest_costs_most(b2: int, d: int, multiplier: float) -> None:
    """What a party can be sure of that checks nothing but the multiplier."""
    orders = (2, 3, 10, 256)
    assert (Sum(b2, d, multiplier**2 * b2).rdp(orders) <= Sum(1, 1, multiplier**2).rdp(orders) * (1 + 1e-12)).all()


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.1, 1e6))
def test_neighbours_that_replace_a_vector(b2: int, d: int, mu: float) -> None:
    """The sum that docs/privacy.md names for them has at least twice D2 and twice D1."""
    one, twice = Sum(b2, d, mu), Sum(4 * b2, 4 * d, mu)
    assert twice.norm_bound_squared == 4 * one.norm_bound_squared
    assert twice.l1_bound >= 2 * one.l1_bound * (1 - 1e-12)


@pytest.mark.parametrize("orders", [[1], [2, 1.5], [2.0], [0], [True]])
def test_orders_that_the_theorem_does_not_cover(orders: list[int]) -> None:
    with pytest.raises(LocalError, match="whole orders from 2"):
        Sum(4, 9, 2.0).rdp(orders)


@pytest.mark.parametrize(
    ("bound", "coordinates", "variance"),
    [(0, 1, 1.0), (4.0, 1, 1.0), (4, 0, 1.0), (1 << 128, 1, 1.0), (4, 1, 0.0), (4, 1, -1.0), (4, 1, math.inf), (4, 1, math.nan)],
)
def test_no_sum(bound: int, coordinates: int, variance: float) -> None:
    with pytest.raises(LocalError, match="noised sum"):
        Sum(bound, coordinates, variance)
