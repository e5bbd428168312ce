"""Malicious mode through Flower: what an honest run gives, who may take part, and what is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord

from stfed.errors import LocalError, QuorumError
from stfed.flower.settings import Settings
from stfed.secagg.params import Mode
from stfed.testing import InMemoryGrid
from stfed.testing.protocol import roster_of
from tests.flower import apps

N = 6


class Run:
    """A run of so many rounds, with the model before and after each."""

    def __init__(self, grid: InMemoryGrid, strategy: Any, rounds: int = 1, between: dict[int, Callable[[], object]] | None = None) -> None:
        self.grid, self.strategy = grid, strategy
        recorder = apps.Recorder(between)
        strategy.start(grid, apps.model(), num_rounds=rounds, evaluate_fn=recorder)
        self.models: list[ArrayRecord] = recorder.models
        self.reports = [report for report in strategy.reports if report.phase == "train"]

    def is_exact(self, round_: int = 1) -> None:
        """The model after a round is the mean of exactly the parties that its report names."""
        report, before = self.reports[round_ - 1], self.models[round_ - 1]
        assert report.failure is None
        wanted = apps.mean_of(apps.parties(self.grid, report.summed), before, round_)
        assert apps.distance(self.models[round_], wanted) <= report.error_bound + apps.rounding(len(report.summed), before)

    def node(self, index: int) -> int:
        return self.grid.node(index).node_id


def test_a_malicious_run_gives_what_a_plain_one_gives() -> None:
    run = Run(apps.malicious_grid(N), apps.malicious(N))
    run.is_exact()
    report = run.reports[0]
    assert (report.mode, report.corrupt, report.quorum) == ("malicious", 1, 4)
    assert set(report.confirmed) == set(report.summed) == set(run.grid.get_node_ids())
    assert list(report.seconds) == ["join", "prepare", "train", "confirm", "unmask", "sum"]
    assert report.as_dict()["confirmed"] == [str(node) for node in report.confirmed]


def test_it_goes_on_from_round_to_round_with_training_and_evaluation() -> None:
    run = Run(apps.malicious_grid(N), apps.malicious(N, apps.FedAvg()), rounds=3)
    assert len(run.strategy.reports) == 6
    assert all(report.failure is None and len(report.confirmed) == N for report in run.strategy.reports)
    for round_ in (1, 2, 3):
        run.is_exact(round_)


@pytest.mark.parametrize("step", ["prepare", "train", "confirm", "unmask"])
@pytest.mark.parametrize("action", ["drop-request", "drop-reply", "error"])
def test_a_party_that_is_lost_in_one_step_costs_nothing_but_itself(step: str, action: str) -> None:
    run = Run(apps.malicious_grid(N, {"action": action, "node": 2, "step": step, "round": 1}), apps.malicious(N), rounds=3)
    lost, first = run.node(2), run.reports[0]
    assert (lost in first.summed) is (step in ("confirm", "unmask"))
    if step == "unmask":  # t shares of everything were there before it was missed
        assert lost in first.confirmed
    else:
        assert first.dropped[lost]["step"] == step
        assert lost not in first.confirmed
    assert lost in run.reports[2].summed
    for round_ in (1, 2, 3):
        run.is_exact(round_)


def test_too_few_confirmations_end_the_round_and_release_nothing() -> None:
    faults = [{"action": "drop-reply", "node": node, "step": "confirm", "round": 1} for node in range(3)]
    grid, strategy = apps.malicious_grid(N, *faults), apps.malicious(N)
    with pytest.raises(QuorumError, match="3 of 6 parties confirmed the survivor set, 4 are needed"):
        strategy.start(grid, apps.model(), num_rounds=1)
    assert not any(apps.describe(message) == ("unmask", 1) for message in grid.surplus)
    assert "unmask" not in strategy.reports[0].seconds


def test_the_next_round_works_after_one_that_was_not_confirmed() -> None:
    faults = [{"action": "drop-reply", "node": node, "step": "confirm", "round": 1} for node in range(3)]
    run = Run(apps.malicious_grid(N, *faults), apps.malicious(N, on_failure="skip"), rounds=2)
    assert "confirmed the survivor set" in (run.reports[0].failure or "")
    run.is_exact(2)


# Who may take part


def test_a_party_that_is_not_on_the_coordinators_roster_is_left_out_and_named() -> None:
    roster = roster_of(N).remove("party 5")
    run = Run(apps.malicious_grid(N, mod=apps.malicious_mod(N, roster=roster_of(N))), apps.malicious(N, roster=roster))
    report = run.reports[0]
    assert run.node(5) not in report.summed
    assert "no member has it" in report.dropped[run.node(5)]["detail"]
    run.is_exact()


def test_a_party_revoked_between_two_rounds_is_refused_by_the_others_from_then_on(tmp_path: Path) -> None:
    """The coordinator does not know; the parties read their own file again."""
    path = tmp_path / "roster.toml"
    roster_of(N).write(path)
    mod = apps.malicious_mod(N, roster=path)

    def revoke() -> None:
        roster_of(N).revoke("party 5", datetime.now(UTC) - timedelta(hours=1)).write(path)

    strategy = apps.malicious(N, on_failure="skip")
    run = Run(apps.malicious_grid(N, mod=mod), strategy, rounds=2, between={1: revoke})
    run.is_exact(1)
    assert run.reports[1].failure is not None
    assert all("it was revoked" in drop["detail"] or node == run.node(5) for node, drop in run.reports[1].dropped.items())


def test_errors_name_the_member_and_not_only_the_node() -> None:
    faults = [{"action": "error", "node": node, "step": "train", "round": 1} for node in range(3)]
    with pytest.raises(QuorumError, match=r"node \d+ \(party 0\)"):
        apps.malicious(N).start(apps.malicious_grid(N, *faults), apps.model(), num_rounds=1)


def test_the_two_sides_must_want_the_same_mode() -> None:
    with pytest.raises(QuorumError, match="the coordinator runs in semi-honest mode, this party's policy is malicious"):
        apps.secure().start(apps.malicious_grid(N), apps.model(), num_rounds=1)
    with pytest.raises(QuorumError, match="the coordinator runs in malicious mode, this party's policy is semi-honest"):
        apps.malicious(N).start(apps.secure_grid(N), apps.model(), num_rounds=1)


# What the coordinator's own configuration must have


def test_malicious_mode_needs_a_roster_and_nothing_else_takes_one(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="malicious mode needs the roster"):
        apps.secure(mode="malicious")
    with pytest.raises(LocalError, match="a roster is for malicious mode"):
        apps.secure(roster=roster_of(N))
    with pytest.raises(LocalError, match=r"mode is 'evil'.*use 'semi-honest' or 'malicious'"):
        Settings(mode="evil")  # type: ignore[arg-type]
    path = tmp_path / "roster.toml"
    roster_of(N).write(path)
    assert apps.secure(mode="malicious", roster=path).settings.mode is Mode.MALICIOUS


def test_c_is_counted_on_the_roster_and_not_on_the_cohort() -> None:
    """Six of sixty may be the six that are asked: gamma of 0.1 is a share of the roster."""
    strategy = apps.malicious(N, roster=roster_of(60))
    with pytest.raises(QuorumError, match="6 of 6 parties have joined, 9 are needed for a sum"):
        strategy.start(apps.malicious_grid(N, mod=apps.malicious_mod(60)), apps.model(), num_rounds=1)


# What a function can read and a coordinator can choose


def test_a_party_with_another_run_config_is_left_out_by_an_honest_coordinator() -> None:
    grid = apps.malicious_grid(N)
    context = grid.node(4).context
    context.run_config = {"learning-rate": 1.0}
    grid.node(4).context = context
    run = Run(grid, apps.malicious(N))
    assert run.reports[0].dropped[run.node(4)]["detail"] == "its run config is not that of the others"
    assert run.node(4) not in run.reports[0].summed
    run.is_exact()
