"""Flower's client-side differential privacy inside secure aggregation: SecureAggregation(DP(FedAvg)), clipping mods behind ours.

tests/flower/test_matrix.py holds both wrappers against their plain runs.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    FedAvg,
    Strategy,
)
from flwr.supercore.differential_privacy import KEY_NORM_BIT

from stfed.errors import LocalError, PeerError, QuorumError
from stfed.flower import SecureAggregation, votes
from tests.flower import apps

N = 6
NORM = 0.6
"""The changes here have a norm of about 0.1 * sqrt(41) = 0.64: this one clips some parties and not others."""


def fixed(**options: Any) -> Strategy:
    return DifferentialPrivacyClientSideFixedClipping(FedAvg(), noise_multiplier=0.05, clipping_norm=NORM, num_sampled_clients=N, **options)


def adaptive() -> DifferentialPrivacyClientSideAdaptiveClipping:
    return DifferentialPrivacyClientSideAdaptiveClipping(
        FedAvg(), noise_multiplier=0.5, num_sampled_clients=N, initial_clipping_norm=NORM, clip_norm_lr=0.2, clipped_count_stddev=0.3
    )


def test_adaptive_clipping_counts_parties_and_not_examples() -> None:
    """The light parties are clipped and the heavy ones are not: a weighted mean of the bits would be far from the share of the parties."""
    bits: list[int] = []

    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        change = np.float32(0.01 if partition >= 4 else 1.0)
        return {name: value + change for name, value in arrays.items()}, {"num-examples": 100 if partition >= 4 else 1}

    class Counting(DifferentialPrivacyClientSideAdaptiveClipping):
        def _noisy_fraction(self, count: int, total: int) -> float:
            bits.append(count)
            assert total == N
            return count / total

    strategy = Counting(
        FedAvg(fraction_evaluate=0.0), noise_multiplier=0.0, num_sampled_clients=N, clipped_count_stddev=0.0, initial_clipping_norm=1.0
    )
    secure = apps.secure(strategy, uniform=True)
    secure.start(
        apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train, train_mods=[adaptiveclipping_mod])), apps.model(), 1
    )
    assert bits == [4]
    assert secure.reports[0].metrics[votes.VOTE] == pytest.approx(4 / N, abs=1e-9)


def test_the_clipping_mods_clip_before_the_update_is_masked() -> None:
    """With noise out of the way and everybody clipped, the mean change can not be longer than the norm."""
    strategy = DifferentialPrivacyClientSideFixedClipping(
        apps.only_training(), noise_multiplier=1e-9, clipping_norm=0.01, num_sampled_clients=N
    )
    # No scalar in this model: Flower's clipping and its noise leave out arrays of no dimension.
    before = apps.record_of({"w": np.linspace(-1, 1, 40, dtype=np.float32)})
    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train_mods=[fixedclipping_mod]))
    result = apps.secure(strategy).start(grid, before, 1)
    assert 0.001 < np.linalg.norm(result.arrays["w"].numpy() - before["w"].numpy()) < 0.0101


@pytest.mark.parametrize("mods", [[fixedclipping_mod], [adaptiveclipping_mod]], ids=["fixed", "adaptive"])
def test_the_wrong_order_of_mods_fails_and_sends_nothing_unclipped(mods: list[Any]) -> None:
    """A clipping mod outside of ours would see masked vectors only. It refuses JOIN already, which has no model in it."""
    grid = apps.secure_grid(N, app=apps.client_app(*mods, apps.secure_mod()))
    with pytest.raises(QuorumError, match="ArrayRecord"):
        apps.secure(fixed()).start(grid, apps.model(), 1)


def test_local_differential_privacy_goes_behind_our_mod_as_well() -> None:
    grid = apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train_mods=[LocalDpMod(1.0, 0.001, 10.0, 1e-5)]))
    strategy = apps.secure()
    result = strategy.start(grid, apps.model(), 1)
    assert len(strategy.reports[0].summed) == N
    assert 1e-5 < apps.distance(result.arrays, apps.mean_of(range(N), apps.model(), 1)) < 0.5


def test_an_accountant_needs_uniform_weights() -> None:
    """Its own check that all replies weigh the same would pass on the mean of anything."""
    strategy = fixed()
    strategy.accountant = types.SimpleNamespace(config=None)
    with pytest.raises(LocalError, match=r"accountant .* all parties weigh the same") as caught:
        SecureAggregation(strategy)
    assert caught.value.hint == "set uniform=True"
    SecureAggregation(strategy, uniform=True)


def test_the_vote_is_flowers_metric() -> None:
    assert votes.VOTE == KEY_NORM_BIT


def test_adaptive_clipping_needs_uniform_weights() -> None:
    with pytest.raises(LocalError, match="counts the parties that had to clip") as caught:
        SecureAggregation(adaptive())
    assert caught.value.hint == "set uniform=True"


def test_a_metric_of_that_name_is_a_metric_like_others_where_weights_differ() -> None:
    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        return arrays, {"num-examples": 10 + partition, "norm_bit": 0.25}

    strategy = apps.secure()
    result = strategy.start(apps.secure_grid(N, app=apps.client_app(apps.secure_mod(), train=train)), apps.model(), 1)
    assert result.train_metrics_clientapp[1]["norm_bit"] == pytest.approx(0.25, abs=1e-9)


@pytest.mark.parametrize("count", range(5))
def test_the_share_of_votes_is_their_number(count: int) -> None:
    assert votes.ones({"norm_bit": count / 4 + 2.0**-31, "loss": 0.3}, 4) == count
    assert votes.ones({"loss": 0.3}, 4) is None


@pytest.mark.parametrize("mean", [-0.5, 1.5, 0.1, float("nan")])
def test_a_sum_that_is_no_count_is_refused(mean: float) -> None:
    with pytest.raises(PeerError, match="no count of 4 votes"):
        votes.ones({"norm_bit": mean}, 4)
