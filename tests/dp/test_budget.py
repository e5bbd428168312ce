"""A run stops before the round that would cost too much, says so, and counts everything that got out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stfed.dp import Accountant, Budget, BudgetError, DpRelease, Sum, epsilon_of
from stfed.errors import LocalError

UPDATE = Sum(1_003_550, 10_000, 8 * 100_000.0)
FACTS: dict[str, Any] = {"l2_clip": 1.0, "scale": 1000.0, "share_variance": 100_000.0, "honest_survivors": 8, "survivors": 10}


def run(budget: Budget, rounds: range) -> list[DpRelease]:
    releases = []
    for number in rounds:
        budget.check(UPDATE, round_number=number)
        releases.append(budget.spend(UPDATE, round_number=number, **FACTS))
    return releases


def test_it_stops_before_the_round_that_costs_too_much_and_says_after_which() -> None:
    budget = Budget(20.0, 1e-5)
    with pytest.raises(BudgetError) as stopped:
        run(budget, range(1, 100))
    error = stopped.value
    assert error.last_round == budget.last_round == budget.accountant.releases == 8
    assert error.spent == budget.spent == epsilon_of([UPDATE], 1e-5, 8) <= 20 < epsilon_of([UPDATE], 1e-5, 9)
    assert error.message == (
        "after round 8 the run has spent epsilon 19.8550 of 20 at delta 1e-05, and round 9 would bring it to 21.4166; it was not started"
    )
    assert error.hint is not None
    assert "the model of round 8 stands" in error.hint
    assert isinstance(error, LocalError)


def test_a_budget_for_less_than_one_round() -> None:
    budget = Budget(1.0, 1e-5)
    with pytest.raises(BudgetError) as refused:
        budget.check(UPDATE)
    assert refused.value.message.startswith(
        "before its first round the run has spent epsilon 0.0000 of 1 at delta 1e-05, and the next round"
    )
    assert refused.value.last_round == 0
    assert budget.accountant.releases == 0


def test_looking_costs_nothing_and_tells_what_it_would_be() -> None:
    budget = Budget(20.0, 1e-5)
    assert budget.check(UPDATE) == budget.check(UPDATE) == epsilon_of([UPDATE], 1e-5, 1)
    assert budget.check(UPDATE, UPDATE) == epsilon_of([UPDATE], 1e-5, 2)
    assert budget.spent == 0


def test_without_a_limit_it_is_still_accounted_for() -> None:
    budget = Budget(None, 1e-5)
    releases = run(budget, range(1, 31))
    assert budget.spent == releases[-1].epsilon == epsilon_of([UPDATE], 1e-5, 30)
    assert [release.epsilon for release in releases] == sorted(release.epsilon for release in releases)


def test_what_is_out_is_counted_even_over_the_limit() -> None:
    budget = Budget(1.0, 1e-5)
    assert budget.spend(UPDATE, round_number=1, **FACTS).epsilon > 1
    assert budget.spent > 1


def test_two_sums_of_one_round() -> None:
    """The update and another vector with noise of its own: two records, and what they cost adds up."""
    budget, other = Budget(None, 1e-5), Sum(1, 1, 8 * 4.0)
    first = budget.spend(UPDATE, round_number=3, **FACTS)
    second = budget.spend(other, round_number=3, what="bits", **{**FACTS, "l2_clip": 1.0, "scale": 1.0, "share_variance": 4.0})
    assert (first.what, second.what) == ("update", "bits")
    assert second.epsilon == Accountant([UPDATE, other]).epsilon(1e-5) > first.epsilon
    assert budget.last_round == 3


def test_a_run_that_goes_on_after_a_restart() -> None:
    before = Budget(20.0, 1e-5)
    run(before, range(1, 6))
    again = Budget(20.0, 1e-5, Accountant.restore(before.accountant.state()), before.last_round)
    assert again.spent == before.spent
    with pytest.raises(BudgetError, match="after round 8 the run has"):
        run(again, range(6, 100))


def test_the_log_of_a_run_is_enough_to_check_its_epsilon() -> None:
    budget = Budget(None, 1e-6)
    releases = run(budget, range(1, 13))
    assert Accountant(release.sum for release in releases).epsilon(1e-6) == releases[-1].epsilon


@pytest.mark.parametrize("facts", [{"honest_survivors": 7}, {"share_variance": 1.0}, {"survivors": 7}, {"honest_survivors": 9}])
def test_noise_that_is_not_there_is_not_counted(facts: dict[str, Any]) -> None:
    budget = Budget(None, 1e-5)
    with pytest.raises(LocalError):
        budget.spend(UPDATE, round_number=1, **{**FACTS, **facts})
    assert budget.accountant.releases == budget.last_round == 0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_no_budget(epsilon: float) -> None:
    with pytest.raises(LocalError, match="budget epsilon"):
        Budget(epsilon, 1e-5)
    with pytest.raises(LocalError, match="delta is"):
        Budget(1.0, 0.0)
