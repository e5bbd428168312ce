"""Composition, the conversion to epsilon, calibration in both directions, restarts, and a package that is not there."""

from __future__ import annotations

import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from flwr.serverapp import GaussianPrivacyEvent, NeighboringRelation, PrivacyConfig, RdpAccountant, SamplingMethod
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed import canonical
from stfed.dp import Accountant, Sum, calibrate_noise, epsilon_of
from stfed.dp.accountant import ORDERS, PRECISION
from stfed.errors import LocalError

SUMS = st.builds(Sum, st.integers(1, 10**12), st.integers(1, 10**8), st.floats(1e3, 1e15))
UPDATE = Sum(1_003_550, 10_000, 800_000.0)
BITS = Sum(1, 1, 4.0)


def test_epsilon_is_the_formula_of_the_page() -> None:
    """Recomputed with 50 digits, from the constants of docs/privacy.md."""
    rounds, delta = 25, 1e-5
    with mpmath.workdps(50):
        b2, d, mu = map(mpmath.mpf, (UPDATE.norm_bound_squared, UPDATE.coordinates, UPDATE.variance))
        d1 = min(mpmath.sqrt(d * b2), b2)
        candidates = []
        for a in ORDERS:
            curve = a * b2 / (2 * mu) + min(((2 * a - 1) * b2 + 6 * d1) / (4 * mu**2), 3 * d1 / (2 * mu))
            candidates.append(rounds * curve + mpmath.log(1 - mpmath.mpf(1) / a) - mpmath.log(mpmath.mpf(delta) * a) / (a - 1))
        exact = float(min(candidates))
    assert epsilon_of([UPDATE], delta, rounds) == pytest.approx(exact, rel=1e-12)
    assert exact == pytest.approx(41.48760387449542, rel=1e-12)


def test_whole_orders_lose_little() -> None:
    """Against the best real order, for a Gaussian curve from epsilon 1e-3 to 10."""
    orders, every = np.array(ORDERS, dtype=float), 1 + np.exp(np.linspace(-3, 12, 20_000))
    assert (np.diff(orders) > 0).all()
    for delta in (1e-5, 1e-9):
        for rho in np.geomspace(1e-7, 1.1, 15):
            whole, best = (float((a * rho + np.log1p(-1 / a) - np.log(delta * a) / (a - 1)).min()) for a in (orders, every))
            assert best - 1e-9 <= whole <= 1.005 * best + 1e-6


@given(st.lists(SUMS, min_size=1, max_size=5), st.randoms())
@settings(max_examples=25, deadline=None)
def test_composition_is_a_sum_in_any_order(sums: list[Sum], random: object) -> None:
    together = Accountant(sums)
    mixed = list(sums)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert np.allclose(together.rdp, sum(one.rdp(ORDERS) for one in sums), rtol=1e-12)
    assert np.allclose(Accountant(mixed).rdp, together.rdp, rtol=1e-12)
    assert together.releases == len(sums)
    assert together.epsilon(1e-6) >= max(Accountant([one]).epsilon(1e-6) for one in sums)


def test_looking_ahead_changes_nothing() -> None:
    accountant = Accountant([UPDATE])
    before = accountant.epsilon(1e-5)
    assert accountant.with_also(UPDATE, BITS).epsilon(1e-5) > before
    assert accountant.epsilon(1e-5) == before
    assert accountant.releases == 1


def test_nothing_released_costs_nothing() -> None:
    accountant = Accountant()
    accountant.compose(UPDATE, 0)
    assert accountant.epsilon(1e-9) == 0
    assert accountant.state() == []


def test_more_rounds_cost_more() -> None:
    costs = [epsilon_of([UPDATE], 1e-5, rounds) for rounds in (1, 2, 5, 20, 100)]
    assert costs == sorted(set(costs))
    assert epsilon_of([UPDATE], 1e-7, 5) > epsilon_of([UPDATE], 1e-5, 5)


def test_flowers_accountant_says_the_same_of_gaussian_noise() -> None:
    """Of the same noise multiplier without sampling: to a ten-thousandth, at the orders that both have."""
    config = PrivacyConfig(1e-5, 10, NeighboringRelation.ADD_OR_REMOVE_ONE, SamplingMethod.NO_AMPLIFICATION)
    theirs = RdpAccountant(config, tuple(map(float, ORDERS)))
    theirs.compose(GaussianPrivacyEvent(3.0, 10, 10), 40)
    assert epsilon_of([Sum(10**6, 10**4, 9.0 * 10**6)], 1e-5, 40) == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-4)


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0, 25.0])
@pytest.mark.parametrize("rounds", [1, 40])
def test_calibration_finds_the_least_noise(epsilon: float, rounds: int) -> None:
    def make(multiplier: float) -> Sum:
        return Sum(250_000, 5_000, multiplier**2 * 250_000)

    multiplier = calibrate_noise(epsilon, 1e-5, rounds, make)
    assert epsilon_of([make(multiplier)], 1e-5, rounds) <= epsilon
    assert epsilon_of([make(multiplier * (1 - 2 * PRECISION))], 1e-5, rounds) > epsilon
    assert epsilon_of([make(multiplier)], 1e-5, rounds) == pytest.approx(epsilon, rel=0.02)


def test_calibration_counts_what_else_is_released() -> None:
    def make(multiplier: float) -> Sum:
        return Sum(250_000, 5_000, multiplier**2 * 250_000)

    alone, with_bits = calibrate_noise(4, 1e-5, 10, make), calibrate_noise(4, 1e-5, 10, make, also=[Sum(1, 1, 100.0)])
    assert with_bits > alone
    assert epsilon_of([make(with_bits), Sum(1, 1, 100.0)], 1e-5, 10) <= 4
    with pytest.raises(LocalError, match="no noise keeps 10 rounds within epsilon 1 at delta 1e-05"):
        calibrate_noise(1, 1e-5, 10, make, also=[Sum(1, 1, 1.0)])


@pytest.mark.parametrize(("epsilon", "rounds"), [(0, 1), (-1, 1), (math.nan, 1), (math.inf, 1), (1, 0)])
def test_no_calibration(epsilon: float, rounds: int) -> None:
    with pytest.raises(LocalError, match="cannot be calibrated"):
        calibrate_noise(epsilon, 1e-5, rounds, lambda z: Sum(1, 1, z))


@pytest.mark.parametrize("delta", [0, 1, -0.1, math.nan])
def test_no_delta(delta: float) -> None:
    with pytest.raises(LocalError, match="delta is"):
        Accountant([UPDATE]).epsilon(delta)


def test_times_below_zero() -> None:
    with pytest.raises(LocalError, match="-1 times"):
        Accountant().compose(UPDATE, -1)


@given(st.lists(st.tuples(SUMS, st.integers(1, 50)), max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_restart_goes_on_where_it_was(released: list[tuple[Sum, int]]) -> None:
    accountant = Accountant()
    for one, times in released:
        accountant.compose(one, times)
    state = canonical.decode(canonical.encode(accountant.state()), "the state")
    again = Accountant.restore(state)
    assert again.releases == accountant.releases
    assert (again.rdp == accountant.rdp).all(), "to the last bit"
    assert again.state() == accountant.state()


@pytest.mark.parametrize(
    "state",
    [
        [{}],
        [{"norm_bound_squared": "x", "coordinates": 1, "variance": 1.0, "times": 1}],
        [{"norm_bound_squared": "4", "coordinates": 1, "variance": 0.0, "times": 1}],
        [{"norm_bound_squared": "4", "coordinates": 1.5, "variance": 1.0, "times": 1}],
        [{"norm_bound_squared": "4", "coordinates": 1, "variance": 1.0, "times": -1}],
        [{"norm_bound_squared": "4", "coordinates": 1, "variance": 1.0, "times": "1"}],
        [{"norm_bound_squared": "4", "coordinates": 1, "variance": 1.0, "times": 0.5}],
        [1],
    ],
)
def test_no_state(state: list[object]) -> None:
    with pytest.raises(LocalError, match="not the state of an accountant"):
        Accountant.restore(state)  # type: ignore[arg-type]


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(LocalError, match=r"pip install 'stfed\[dp\]'"):
        Accountant([UPDATE]).epsilon(1e-5)


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, stfed.dp; assert 'dp_accounting' not in sys.modules and 'scipy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
