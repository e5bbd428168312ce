"""The benchmark of accuracy against epsilon: the same noise on both sides, and real parties whose sums have it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import dp_utility as utility
from benchmarks.dp_utility import ALL_HONEST, CENTRAL, NONE, QUICK, TENTHS, Checked, Trained
from benchmarks.softmax import quiet

(TASK,) = QUICK


def test_the_same_epsilon_takes_the_same_multiplier() -> None:
    central = utility.central_multiplier(8.0, 2)
    for share in (0.0, 0.1):
        assert utility.distributed_multiplier(TASK, share, 8.0, 2) == pytest.approx(central, rel=0.005)


def test_fewer_guaranteed_parties_add_more_each() -> None:
    model = TASK.crowd(1).initial
    shares = [utility.plan_of(TASK, share, 1.0, model) for share in (0.0, 0.1)]
    per_norm = [plan.noise.share_variance / plan.noise.norm_bound_squared for plan in shares if plan.noise is not None]
    assert per_norm[0] == pytest.approx(1 / 20)
    assert per_norm[1] == pytest.approx(1 / 16)


def test_clipping_is_of_the_whole_update() -> None:
    trained = np.stack([np.full((2, 2), 3.0), np.full((2, 2), 0.1)])
    assert utility.clipped_mean(np.zeros((2, 2)), trained, 1.0) == pytest.approx(np.full((2, 2), (0.5 + 0.1) / 2))


def test_real_parties_have_the_plan_and_the_noise_of_the_fast_sums() -> None:
    with quiet():
        found = utility.check(TASK, 0.5, 1, 2)
    assert found.same_plan
    assert abs(found.sigmas) < utility._SIGMAS


def test_both_sides_train() -> None:
    plan = utility.plan_of(TASK, 0.0, 0.1, TASK.crowd(1).initial)
    with quiet():
        accuracies = [
            utility.train_distributed(TASK, plan, 1, 3),
            utility.train_central(TASK, 0.1, 1, 3),
            utility.train_clipped(TASK, 1, 3),
        ]
    assert min(accuracies) > 0.85
    assert max(accuracies) - min(accuracies) < 0.05


def test_lines_and_plots_are_made_of_it() -> None:
    values = {NONE: 0.95, CENTRAL: 0.9, ALL_HONEST: 0.895, TENTHS: 0.85}
    found = [
        Trained(TASK.dataset, variant, None if variant == NONE else epsilon, 1.0, seed, accuracy + (variant == CENTRAL) * (seed - 1) / 50)
        for variant, accuracy in values.items()
        for epsilon in (1.0, 8.0)[: 1 if variant == NONE else 2]
        for seed in (1, 2)
    ]
    lines = {line.name: line for line in utility.lines([TASK], found, [Checked(TASK.dataset, 0.9, True, 1.01, 0.1, 7.9)], 8.0)}
    apart = lines[f"breast-cancer: accuracy, difference from central, {ALL_HONEST}"]
    assert "central - ours +1.50 points" in apart.note
    assert apart.measured == pytest.approx(1.5 / (np.std([0.5, 2.5, 0.5, 2.5], ddof=1) / 2))
    assert apart.met
    assert lines[f"breast-cancer, epsilon 8: accuracy, {TENTHS}"].measured == pytest.approx(85)
    (panel,) = utility.plot([TASK], found)["panels"]
    assert [one["name"] for one in panel["series"]] == [NONE, CENTRAL, ALL_HONEST, TENTHS]
