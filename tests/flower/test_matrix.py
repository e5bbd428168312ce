"""The strategy matrix: what Flower has is in it, what works really runs and equals its plain run, what is refused says why."""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg, Strategy

from stfed.errors import LocalError
from stfed.flower import SecureAggregation
from stfed.flower import grid as secure_grid
from stfed.flower.compatibility import REFUSED
from stfed.flower.events import RoundReport
from stfed.flower.groups import Groups
from tests.flower import apps, matrix
from tests.flower.matrix import LARGEST_DIFFERENCE, ROWS, Row

ROUNDS = 2
UNCHANGED, GROUPED, NOT = ([name for name, row in ROWS.items() if row.how == how] for how in ("unchanged", "with groups", "refused"))


def test_every_strategy_that_flower_has_is_a_row() -> None:
    """A strategy that a later Flower adds turns this red: it has to be thought about."""
    known = {
        kind.__name__
        for kind in vars(flower).values()
        if inspect.isclass(kind) and issubclass(kind, Strategy) and not inspect.isabstract(kind)
    }
    assert known == set(ROWS)
    assert all(type(row.build()).__name__ == name for name, row in ROWS.items())
    assert {kind.__name__ for kind in REFUSED} == set(NOT)


def test_the_page_has_the_table() -> None:
    assert matrix.PAGE.read_text() == matrix.written(matrix.PAGE.read_text()), "run python -m tests.flower.matrix"


@pytest.mark.parametrize("name", NOT)
def test_a_strategy_that_would_be_silently_wrong_is_refused_with_its_reason(name: str) -> None:
    """Whatever is set, and as a subclass of another name."""
    error = matrix.refusal(ROWS[name])
    assert error.message.startswith(f"{name} cannot run on ")
    assert error.hint
    for settings in ({"uniform": True}, {"group_size": 3}):
        with pytest.raises(LocalError, match=f"{name} cannot run on "):
            SecureAggregation(ROWS[name].build(), **settings)
    mine = ROWS[name].build()
    mine.__class__ = type("Mine", (type(mine),), {})
    with pytest.raises(LocalError, match="Mine cannot run on "):
        SecureAggregation(mine)


def run(strategy: Strategy, grid: Any) -> apps.Recorder:
    """With the seed of Flower's noise fixed: the same noise for the same calls, so the noise is in the comparison too."""
    recorder = apps.Recorder()
    np.random.seed(5)
    recorder.result = strategy.start(grid, apps.model(), ROUNDS, evaluate_fn=recorder)
    return recorder


def check(name: str, secure: apps.Recorder, plain: apps.Recorder, errors: Sequence[float]) -> None:
    """The models of all rounds and the metrics."""
    for t in range(1, ROUNDS + 1):
        allowed = ROWS[name].tolerance(errors[:t]) + t * apps.rounding(0, apps.model())
        assert apps.distance(secure.models[t], plain.models[t]) <= allowed
        moved = apps.distance(plain.models[t], plain.models[t - 1])
        assert allowed < moved / 50, "the tolerance must be small against what a round changes, or this test shows nothing"
    assert {array.dtype for array in secure.result.arrays.values()} == {"float32"}
    assert list(secure.result.arrays) == list(plain.result.arrays) == list(apps.SHAPES)
    for which in ("train_metrics_clientapp", "evaluate_metrics_clientapp"):
        ours, theirs = getattr(secure.result, which), getattr(plain.result, which)
        assert list(ours) == list(theirs)
        for t in ours:
            # A metric travels in steps of 2^-30; the rest is double precision.
            assert dict(ours[t]) == pytest.approx(dict(theirs[t]), abs=2.0**-30)


def error_of(report: RoundReport, replies: int) -> float:
    """e_t: the encoding's, and the roundings of Flower's averaging of as many replies."""
    return report.error_bound + 2 * apps.rounding(replies, apps.model())


def apps_of(row: Row) -> tuple[Any, Any]:
    """The parties' app with and without the mod."""
    options = {"train": row.train, "evaluate": row.evaluate, "train_mods": row.train_mods}
    return apps.client_app(apps.secure_mod(), **options), apps.client_app(**options)


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_works_unchanged_equals_its_plain_run(name: str) -> None:
    row = ROWS[name]
    with_mod, without = apps_of(row)
    inner, own = row.build(), row.build()
    strategy = apps.secure(inner, **row.settings)
    secure = run(strategy, apps.secure_grid(row.parties, app=with_mod))
    plain = run(own, apps.plain_grid(row.parties, app=without))
    changes = [apps.mean_of(range(row.parties), apps.model(), t) for t in range(1, ROUNDS + 1)]
    assert all(apps.distance(apps.model(), change) <= LARGEST_DIFFERENCE for change in changes)
    check(name, secure, plain, [error_of(report, row.parties) for report in strategy.reports if report.phase == "train"])
    assert list(secure.result.evaluate_metrics_clientapp) == [1, 2]
    if isinstance(inner, flower.DifferentialPrivacyClientSideAdaptiveClipping):
        assert inner.clipping_norm == own.clipping_norm != matrix.NORM


@pytest.mark.parametrize("name", GROUPED)
def test_what_works_with_groups_equals_its_plain_run_on_the_groups_means(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = ROWS[name]
    monkeypatch.setattr(secure_grid, "Groups", partial(Groups, shuffle=random.Random(1).shuffle))
    with pytest.raises(LocalError, match=f"{name} .*") as caught:
        SecureAggregation(row.build())
    assert "group_size" in str(caught.value.hint)

    inner, own = row.build(), row.build()
    inner.fraction_evaluate = own.fraction_evaluate = 0.0
    strategy = apps.secure(inner, **row.settings)
    grid = apps.secure_grid(row.parties)
    secure = run(strategy, grid)
    groups = [apps.parties(grid, report.summed) for report in strategy.reports[: row.parties // 3]]
    assert sorted(party for group in groups for party in group) == list(range(row.parties))

    def of_group(at: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        mean = apps.mean_of(groups[at], apps.record_of(arrays), server_round)
        weights = [apps.examples_of(party) for party in groups[at]]
        loss = np.average([apps.loss_of(party, server_round) for party in groups[at]], weights=weights)
        return {name: value.astype(np.float32) for name, value in mean.items()}, {"num-examples": sum(weights), "train_loss": loss}

    plain = run(own, apps.plain_grid(len(groups), app=apps.client_app(train=of_group)))
    rounds = [strategy.reports[at * len(groups) : (at + 1) * len(groups)] for at in range(ROUNDS)]
    assert [{report.server_round for report in reports} for reports in rounds] == [{1}, {2}]
    errors = [max(error_of(report, len(groups)) for report in reports) for reports in rounds]
    check(name, secure, plain, errors)
    mean = apps.mean_of(range(row.parties), apps.model(), 1)
    assert apps.distance(secure.models[1], mean) > 100 * errors[0], "it is the plain mean"


def test_the_comparison_sees_a_round_that_misses_one_party() -> None:
    """The comparison above, red: one party less is far outside of the tolerance."""
    strategy = apps.secure(FedAvg())
    grid = apps.secure_grid(5, {"action": "drop-reply", "node": 0, "step": "train"})
    result: ArrayRecord = strategy.start(grid, apps.model(), 1).arrays
    plain = FedAvg().start(apps.plain_grid(5), apps.model(), 1).arrays
    assert apps.distance(result, plain) > 1000 * error_of(strategy.reports[0], 5)
