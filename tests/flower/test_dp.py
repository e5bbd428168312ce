"""Differentially private runs over real parties: what is spent, refused and learnt, and that a party holds the coordinator to it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import FedAvg, FedMedian

from stfed.audit import AuditLog, Kind
from stfed.dp import Accountant, BudgetError, DpRelease
from stfed.errors import LocalError, QuorumError
from stfed.flower import AdaptiveClipping, DistributedDp, SecureAggregation
from stfed.flower.dp import Privacy
from stfed.flower.events import RoundReport
from stfed.flower.journal import Journal
from stfed.flower.settings import Settings
from stfed.keys.encryption import generate_keypair
from stfed.sealed import inspect
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import PlanError
from stfed.testing import InMemoryGrid
from tests.flower import apps

N = 10


def private(strategy: Any = None, **fields: Any) -> SecureAggregation:
    dp = {"l2_clip": 1.0, "noise_multiplier": 0.5} | {
        name: fields.pop(name) for name in tuple(fields) if name in DistributedDp.__dataclass_fields__
    }
    return SecureAggregation(strategy or apps.only_training(), dp=DistributedDp(**dp), uniform=True, **fields)


def run(
    secure: SecureAggregation, grid: InMemoryGrid | None = None, rounds: int = 1, arrays: ArrayRecord | None = None, **options: Any
) -> ArrayRecord:
    return secure.start(grid or apps.secure_grid(N), arrays or apps.model(), rounds, **options).arrays


def released(report: RoundReport) -> DpRelease:
    assert report.privacy is not None
    return report.privacy


def test_the_model_moves_by_the_mean_update_and_noise_of_the_stated_size() -> None:
    wide = {"w": np.zeros(20_000, np.float32)}

    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return {"w": arrays["w"] + np.float32(0.001)}, {"num-examples": 3 + party, "train_loss": 1.0}

    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train))
    secure = private()
    after = run(secure, grid, arrays=apps.record_of(wide))["w"].numpy()
    release = released(secure.reports[0])
    # Ten parties added noise of which eight were counted on: 9 must survive of 10, and one may be corrupt.
    assert (release.survivors, release.honest_survivors) == (10, 8)
    deviation = math.sqrt(N * release.share_variance) / release.scale / N
    assert deviation == pytest.approx(0.5 * 1.0 * math.sqrt(10 / 8) / 10, rel=0.02)
    assert after.std() == pytest.approx(deviation, rel=0.05)
    assert after.mean() == pytest.approx(0.001, abs=5 * deviation / math.sqrt(after.size))
    assert secure.reports[0].metrics == {}
    assert secure.reports[0].clipped == 0


def test_every_sum_is_accounted_for_and_the_log_has_what_it_takes_to_check(tmp_path: Path) -> None:
    secure = private(
        FedAvg(),
        evaluate_metrics={"eval_acc": (0, 1), "eval_loss": (0, 4)},
        train_metrics={"train_loss": (0, 4)},
        events=tmp_path / "events",
    )
    run(secure, rounds=2)
    releases = [released(report) for report in secure.reports]
    assert [release.what for release in releases] == ["train", "evaluate"] * 2
    assert releases[-1].epsilon == pytest.approx(Accountant(release.sum for release in releases).epsilon(1e-5))
    logged = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    facts = [
        {name: value for name, value in entry.items() if name in DpRelease.__dataclass_fields__}
        for entry in logged
        if entry["event"] == "release"
    ]
    assert [DpRelease.parse(fact) for fact in facts] == releases
    assert secure.reports[1].metrics.keys() == {"eval_acc", "eval_loss"}
    assert secure.reports[0].metrics.keys() == {"train_loss"}


def test_noise_is_calibrated_so_that_all_rounds_fit_and_little_is_left() -> None:
    secure = private(noise_multiplier=None, epsilon=30.0)
    run(secure, rounds=4)
    assert len(secure.reports) == 4
    assert 28.0 < released(secure.reports[-1]).epsilon <= 30.0


def test_with_evaluations_too() -> None:
    secure = private(FedAvg(), noise_multiplier=None, epsilon=30.0, evaluate_metrics={"eval_acc": (0, 1)})
    run(secure, rounds=2)
    assert len(secure.reports) == 4
    assert 28.0 < released(secure.reports[-1]).epsilon <= 30.0


def test_a_run_ends_before_the_round_that_its_budget_has_no_room_for() -> None:
    one = private()
    run(one)
    price = released(one.reports[0]).epsilon
    models = apps.Recorder()
    secure, grid = private(epsilon=2.2 * price), apps.secure_grid(N)
    result = secure.start(grid, apps.model(), 10, evaluate_fn=models)
    done = len([report for report in secure.reports if report.summed])
    assert 2 <= done < 10, "later rounds cost less than the first"
    assert released(secure.reports[done - 1]).epsilon <= 2.2 * price
    assert apps.distance(result.arrays, models.models[-1]) == 0
    assert len(models.models) == done + 1
    assert "it was not started" in str(secure.reports[-1].failure)
    assert f"after round {done} " in str(secure.reports[-1].failure)


def test_a_budget_that_has_no_room_for_a_round_is_an_error() -> None:
    with pytest.raises(BudgetError, match="before its first round"):
        run(private(epsilon=0.01))


def test_a_failed_round_counts_as_one_that_was_not() -> None:
    secure = private(on_failure="skip")
    run(secure, apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": "unmask"} for node in range(8))))
    release = released(secure.reports[0])
    assert secure.reports[0].failure
    assert release.what == "train, failed"
    assert release.epsilon > 0


def test_a_sum_of_fewer_than_the_noise_is_made_for_is_never_unmasked() -> None:
    """Two of ten drop. Without noise the other eight are more than enough on a complete graph."""
    dropped = [{"action": "drop-reply", "node": node, "step": "train"} for node in (1, 2)]
    apps.secure().start(apps.secure_grid(N, *dropped), apps.model(), 1)
    with pytest.raises(QuorumError):
        run(private(), apps.secure_grid(N, *dropped))


def test_the_parties_refuse_such_a_sum_whatever_the_coordinator_thinks() -> None:
    dropped = [{"action": "drop-reply", "node": node, "step": "train"} for node in (1, 2)]
    secure = private()
    with (
        patch.object(Settings, "floor", lambda *_: 3),
        patch.object(Settings, "noised", lambda self, plan, roster=None: self.dp.plan(plan, 9, 1)),
        pytest.raises(QuorumError),
    ):
        run(secure, apps.secure_grid(N, *dropped))
    assert any(
        "U2 has 8 of 10 parties, this party takes part with 9 or more" in drop["detail"] for drop in secure.reports[0].dropped.values()
    )


def test_the_clip_follows_the_norms() -> None:
    secure = private(l2_clip=50.0, noise_multiplier=0.05, adaptive=AdaptiveClipping(learning_rate=1.0))
    run(secure, apps.secure_grid(N, policy=Policy(noise_multiplier=0.04)), rounds=8)
    clips = [released(report).l2_clip for report in secure.reports]
    # the norms here are near 0.1 sqrt(41)
    assert clips[0] > 50 > 5 > clips[-1]
    assert clips == sorted(clips, reverse=True)
    assert all(-0.5 < report.within < 1.5 for report in secure.reports if report.within is not None)


def test_the_clip_moves_only_where_noise_hides_a_party_in_the_count_or_parties_ask_for_noise() -> None:
    secure = private(adaptive=AdaptiveClipping(), noise_multiplier=0.5)
    with pytest.raises(QuorumError):
        run(secure, rounds=2)
    assert any("the encoding for train is another one" in drop["detail"] for drop in secure.reports[1].dropped.values())
    run(private(adaptive=AdaptiveClipping(), noise_multiplier=0.7), rounds=2)
    run(private(adaptive=AdaptiveClipping(), noise_multiplier=0.5), apps.secure_grid(N, policy=Policy(noise_multiplier=0.4)), rounds=2)


def test_how_well_the_noise_hides_a_vote() -> None:
    noise = (
        Settings(dp=DistributedDp(l2_clip=1.0, noise_multiplier=1.0, adaptive=AdaptiveClipping()), uniform=True)
        .plan({"w": np.zeros(3)}, N)
        .noise
    )
    assert noise is not None
    assert noise.hidden_votes(1) == pytest.approx(math.hypot(1.0, 0.3) / 0.6, rel=1e-3)
    assert replace(noise, norm_bit=False, scalar_clip=0.0).hidden_votes(1) == math.inf


def test_what_one_run_spends_is_spent_for_the_next_on_the_same_grid() -> None:
    grid, first = apps.secure_grid(N), private()
    run(first, grid)
    price = released(first.reports[0]).epsilon
    second = private()
    run(second, grid, arrays=apps.model(1))
    assert released(second.reports[0]).epsilon > 1.2 * price
    with pytest.raises(BudgetError, match="after round 1 the run has spent"):
        run(private(epsilon=price), grid, arrays=apps.model(2))


def test_a_coordinator_that_starts_again_has_not_forgotten(tmp_path: Path) -> None:
    """A sum is paid for before it is asked for, so also one that a crash came in between of."""
    journal = Journal(tmp_path / "journal")
    privacy = Privacy(DistributedDp(l2_clip=1.0, noise_multiplier=1.0, epsilon=8.0), journal=journal, run=7)
    plan = Settings(dp=privacy.dp, uniform=True).plan({"w": np.zeros(30, np.float32)}, N)
    privacy.allow(plan, 1, 1)
    del privacy, journal
    again = Privacy(DistributedDp(l2_clip=1.0, noise_multiplier=1.0, epsilon=8.0), journal=Journal(tmp_path / "journal"), run=7)
    assert again.budget.accountant.releases == 1
    assert again.budget.last_round == 1
    assert Privacy(again.dp, journal=Journal(tmp_path / "journal"), run=8).budget.accountant.releases == 0


def test_a_party_that_diverges_is_not_seen_to() -> None:
    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        values, metrics = apps.train(party, arrays, server_round)
        return ({name: value * np.float32(np.nan) for name, value in values.items()} if party == 3 else values), metrics

    secure = private()
    run(secure, apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train)))
    assert len(secure.reports[0].summed) == N


@pytest.mark.parametrize(("within", "clip"), [(0.5, 1.0), (1.0, math.exp(-0.1)), (7.0, math.exp(-0.1)), (-3.0, math.exp(0.1))])
def test_one_step_of_adaptive_clipping(within: float, clip: float) -> None:
    assert AdaptiveClipping().next(1.0, within) == pytest.approx(clip)


def test_the_clip_stays_within_its_bounds() -> None:
    adaptive = AdaptiveClipping(low=0.5, high=2.0, learning_rate=5.0)
    assert (adaptive.next(1.0, 1.0), adaptive.next(1.0, 0.0)) == (0.5, 2.0)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (Policy(noise_multiplier=0.6), "noise multiplier is 0.5 with"),
        (Policy(noise_multiplier=0.48, gamma=0.3), "noise multiplier is 0.4"),
    ],
)
def test_a_party_asks_for_as_much_noise_as_its_policy_says(policy: Policy, why: str) -> None:
    secure = private()
    with pytest.raises(QuorumError):
        run(secure, apps.secure_grid(N, policy=policy))
    assert any(why in drop["detail"] for drop in secure.reports[0].dropped.values())


def test_a_party_that_asks_for_noise_takes_part_in_no_sum_without() -> None:
    secure = apps.secure()
    with pytest.raises(QuorumError):
        secure.start(apps.secure_grid(N, policy=Policy(noise_multiplier=0.1)), apps.model(), 1)
    assert any("has no noise" in drop["detail"] for drop in secure.reports[0].dropped.values())
    run(private(), apps.secure_grid(N, policy=Policy(noise_multiplier=0.4)))


def test_malicious_mode() -> None:
    secure = SecureAggregation(
        apps.only_training(), dp=DistributedDp(l2_clip=1.0, noise_multiplier=0.5), uniform=True, mode="malicious", roster=apps.roster_of(12)
    )
    run(secure, apps.malicious_grid(12, mod=apps.malicious_mod(12, noise_multiplier=0.45)), rounds=2)
    assert [report.failure for report in secure.reports] == [None, None]


def test_groups_cost_what_one_of_them_does() -> None:
    grouped = private(FedMedian(fraction_evaluate=0.0), group_size=5)
    run(grouped, apps.secure_grid(15), rounds=1)
    assert len(grouped.reports) == 3
    assert len({released(report) for report in grouped.reports}) == 1
    release = released(grouped.reports[0])
    # The two corrupt parties of 15 may both be in one group of five.
    assert release.honest_survivors == 3
    assert release.noise_multiplier == pytest.approx(0.5)


def test_a_private_model_says_in_its_file_what_it_gave_away(tmp_path: Path) -> None:
    _, recipient = generate_keypair()
    secure = private(save=tmp_path, recipients=recipient, audit=tmp_path / "audit")
    run(secure)
    public = inspect(tmp_path / "round-001.safetensors").public
    facts = {name.removeprefix("dp_"): value for name, value in public.items() if name.startswith("dp_")}
    assert DpRelease.parse(facts) == released(secure.reports[0])
    with AuditLog(tmp_path / "audit", create=False) as log:
        assert [entry.event.kind for entry in log.entries()] == [Kind.DP_RELEASE, Kind.AGGREGATE, Kind.SEAL]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"uniform": False}, "set uniform=True"),
        ({"value_bits": 8}, "value_bits"),
        ({"dp": 3}, "dp is a int"),
    ],
)
def test_settings_that_do_not_go_together(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalError) as caught:
        SecureAggregation(apps.only_training(), **({"dp": DistributedDp(l2_clip=1.0, noise_multiplier=1.0), "uniform": True} | fields))
    assert why in f"{caught.value.message} {caught.value.hint}"


def test_an_evaluation_without_bounds_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(LocalError, match="has the parties evaluate") as caught:
        private(FedAvg())
    assert "evaluate_metrics" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"l2_clip": 0.0, "epsilon": 1.0}, "l2_clip is 0.0"),
        ({"l2_clip": 1.0}, "neither noise_multiplier nor epsilon"),
        ({"l2_clip": 1.0, "noise_multiplier": math.inf}, "noise_multiplier is inf"),
        ({"l2_clip": 1.0, "epsilon": -1.0}, "epsilon"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "delta": 1.0}, "delta"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "train_metrics": {"loss": (1, 0)}}, "'loss' is bounded by"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "train_metrics": {"loss": 5}}, "the bounds of metrics are"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "evaluate_metrics": {"loss": ("a", "b")}}, "the bounds of metrics are"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "train_metrics": ["loss"]}, "the bounds of metrics are"),
        ({"l2_clip": 1.0, "epsilon": "8"}, "epsilon is '8'"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "delta": None}, "delta is None"),
        ({"l2_clip": 1.0, "epsilon": 1.0, "adaptive": 0.5}, "adaptive is 0.5"),
    ],
)
def test_what_cannot_be_asked_for(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        DistributedDp(**fields)


def test_calibration_needs_the_number_of_rounds() -> None:
    privacy = Privacy(DistributedDp(l2_clip=1.0, epsilon=1.0))
    plan = Settings(dp=privacy.dp, uniform=True).plain({"w": np.zeros(3, np.float32)}, N)
    with pytest.raises(LocalError, match="number of rounds"):
        privacy.calibrate(plan, 9, 1)


def test_malicious_mode_has_no_noise_on_a_drawn_graph() -> None:
    settings = Settings(mode="malicious", dp=DistributedDp(l2_clip=1.0, noise_multiplier=1.0), uniform=True)  # type: ignore[arg-type]
    arrays = {"w": np.zeros(3, np.float32)}
    assert settings.plan(arrays, 100, roster=100).noise is not None
    with pytest.raises(LocalError, match="sparse graph"):
        settings.plan(arrays, 400, roster=400)
    plan = Settings(dp=settings.dp, uniform=True).plan(arrays, 400)
    Policy(mode=Mode.MALICIOUS).check_plan(plan, 400, 399)
    with pytest.raises(PlanError, match="complete graph"):
        Policy(mode=Mode.MALICIOUS).check_plan(plan, 400, 60)


def test_a_party_does_not_take_coarse_noise_for_fine_noise() -> None:
    """With numbers of one unit a multiplier of 1 would cost far more than what it stands for."""
    plan = Settings(dp=DistributedDp(l2_clip=1.0, noise_multiplier=1.0), uniform=True).plan({"w": np.zeros(3, np.float32)}, N)
    assert plan.noise is not None
    coarse = Settings(dp=DistributedDp(l2_clip=1.0, noise_multiplier=1.0), uniform=True, ring_bits=8).plan(
        {"w": np.zeros(3, np.float32)}, N
    )
    assert coarse.noise is not None
    assert coarse.noise.multiplier(1) >= 1.0
    Policy(noise_multiplier=1.0).check_plan(plan, N, N - 1)
    with pytest.raises(PlanError, match="too coarse"):
        Policy(noise_multiplier=1.0).check_plan(coarse, N, N - 1)
