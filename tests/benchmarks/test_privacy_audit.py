"""The privacy audit: its bounds are right where they are known, and it finds what is broken."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import privacy_audit as audit
from benchmarks.privacy_audit import DELTA, FORGOTTEN, NOISY, OFF, Bounds, Case, Spread


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.of(1.0)


def test_the_case_is_what_a_run_does(case: Case) -> None:
    assert case.honest == 16
    assert case.plan.promised_survivors == 18
    assert 0.99 < case.claimed <= 1


def test_rates_are_bounded_as_clopper_and_pearson_do() -> None:
    assert audit.at_most(0, 1000) == pytest.approx(1 - 0.025 ** (1 / 1000))
    assert audit.at_most(10, 10) == 1


def test_bounds_are_those_that_are_known() -> None:
    rate = 1 - 0.025 ** (1 / 1000)
    assert audit.exact_bound(0, 0, 1000) == pytest.approx(math.log((1 - rate - DELTA) / rate))
    assert audit.exact_bound(500, 500, 1000) == 0
    assert audit.gaussian_epsilon(1.0) == pytest.approx(4.3772, abs=1e-3)  # noise multiplier 1, delta 1e-5
    assert audit.gaussian_epsilon(0.0) == 0
    assert audit.gaussian_bound(500, 500, 1000) == 0


def test_gaussian_noise_is_found_to_be_what_it_is() -> None:
    rng = np.random.default_rng(1)
    found = audit.bounds(NOISY, 1.0, rng.standard_normal(10_000), rng.standard_normal(10_000) + 1)
    assert 0.75 * 4.3772 < found.gaussian < 4.3772
    assert 1 < found.exact < found.gaussian


@pytest.mark.parametrize(("variant", "least"), [(FORGOTTEN, 1.0), (OFF, 2.5)])
def test_what_is_broken_is_found(case: Case, variant: str, least: float) -> None:
    assert audit.audit(case, variant, 200 if variant == OFF else 1000, 1).exact > least


def test_with_noise_nothing_over_the_claim_is_found(case: Case) -> None:
    found = audit.audit(case, NOISY, 200, 1)
    assert max(found.exact, found.gaussian) <= case.claimed
    assert audit.wrong([found], []) == []


def test_zeros_get_the_noise_of_one_party(case: Case) -> None:
    noise = case.zeros(300, audit.random_filler(np.random.default_rng(1).bytes))
    assert noise.shape == (300, audit.SIZE)
    assert np.mean(noise.astype(float) ** 2) / case.variance == pytest.approx(1, abs=5 * math.sqrt(2 / noise.size))
    assert not case.quiet().zeros(10, audit.random_filler(np.random.default_rng(1).bytes)).any()


def test_the_noise_of_a_decoded_sum_is_that_of_its_parties() -> None:
    case = Case.of(1.0, 1024)
    for parties in (case.honest, audit.PARTIES):
        assert abs(audit.spread(case, parties, 1).sigmas) < 4


def test_what_must_not_be_is_wrong() -> None:
    fine = Bounds(NOISY, 1.0, 0.5, 0.9, 0.1, 0.1), Bounds(OFF, 1.0, 5.0, 6.0, 0.0, 0.0)
    assert audit.wrong(fine, [Spread(16, 1.01, 1.0)]) == []
    found = audit.wrong([replace(fine[0], gaussian=1.1), replace(fine[1], exact=0.9)], [Spread(16, 1.2, 9.0)])
    assert len(found) == 3
    lines = audit.lines(fine, [Spread(16, 1.01, 1.0)])
    assert all(line.met for line in lines if line.target is not None)
    assert len(audit.plot(fine)["series"]) == 4
