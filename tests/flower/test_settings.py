"""Bits, rotation and the plans that follow from them: one choice for a run, whatever the cohorts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stfed.encoding.rotation import Rotation
from stfed.errors import LocalError
from stfed.flower.settings import Settings
from stfed.secagg.policy import Policy
from tests.flower import apps

MODEL = {"w": np.zeros(300, np.float32)}


@pytest.mark.parametrize(
    ("given", "ring_bits", "value_bits", "rotation", "text"),
    [
        ({}, 32, None, False, "32-bit ring"),
        ({"ring_bits": 20}, 20, None, False, "20-bit ring"),
        ({"ring_bits": 20, "rotation": True}, 20, None, True, "20-bit ring, rotated"),
        ({"value_bits": 8}, None, 8, True, "8-bit values, rotated"),
        ({"value_bits": 8, "rotation": False}, None, 8, False, "8-bit values"),
    ],
)
def test_bits_and_rotation(given: dict[str, Any], ring_bits: int | None, value_bits: int | None, rotation: bool, text: str) -> None:
    settings = Settings(**given)
    assert (settings.ring_bits, settings.value_bits, settings.rotation) == (ring_bits, value_bits, rotation)
    assert settings.precision == text
    plan = settings.plan(MODEL, 50)
    assert (plan.ring_bits, plan.rotation is not None) == (ring_bits or 14, rotation)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"ring_bits": 20, "value_bits": 8}, "ring_bits and value_bits are both given"),
        ({"value_bits": 1}, "value_bits=1 is outside"),
        ({"value_bits": True}, "value_bits is a bool"),
        ({"rotation": "yes"}, "rotation is 'yes'"),
    ],
)
def test_what_cannot_be_set(given: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        Settings(**given)


def test_the_rotation_is_the_runs() -> None:
    settings = Settings(value_bits=8)
    one = settings.plan(MODEL, 5, run=7).rotation
    assert isinstance(one, Rotation)
    assert settings.plan({"other": np.ones(2)}, 9, "weight", 7).rotation == one
    assert Settings(value_bits=9, clip=1.0).plan(MODEL, 5, run=7).rotation == one
    assert settings.plan(MODEL, 5, run=8).rotation != one
    assert settings.plan({}, 5, run=7).rotation is None


def shift(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
    """A large change of a few coordinates that neighbour each other, and hardly any of the rest."""
    change = np.random.default_rng([partition, server_round]).normal(0, 0.001, 300)
    change[:8] += 0.5
    return {"w": (arrays["w"] + change).astype(np.float32)}, {"num-examples": 128}


@pytest.mark.parametrize("dropped", [(), (0,)])
def test_rounds_of_few_bits_give_the_mean(dropped: tuple[int, ...]) -> None:
    """The cohort grows from the first round to the second, the ring with it; for the parties it is one encoding all the same."""
    n, faults = 8, [{"action": "drop-request", "node": node, "step": "join", "occurrence": 1} for node in dropped]
    strategy = apps.secure(value_bits=8, clip=0.5)
    grid = apps.secure_grid(n, *faults, app=apps.client_app(apps.secure_mod(), train=shift))
    before = apps.record_of(MODEL)
    result = strategy.start(grid, before, 2)
    reports = strategy.reports
    assert [(report.n, report.ring_bits) for report in reports] == [(n - len(dropped), 11 if dropped else 12), (n, 12)]
    assert [report.failure for report in reports] == [None, None]
    assert all(report.clipped == 0 for report in reports)
    wanted = MODEL["w"].astype(float)
    for server_round, gone in ((1, dropped), (2, ())):
        wanted = wanted + np.mean([shift(p, MODEL, server_round)[0]["w"] for p in range(n) if p not in gone], axis=0)
    error = np.abs(result.arrays["w"].numpy() - wanted)
    assert error.max() <= sum(report.error_bound for report in reports) + 1e-6
    step = 0.5 / 127  # of one party: the mean is finer, and without the rotation the first eight would have been cut
    assert np.sqrt(np.mean(error**2)) < step / 2


def test_a_partys_policy_bounds_the_ring_that_value_bits_ask_for() -> None:
    strategy = apps.secure(value_bits=8)
    with pytest.raises(Exception, match="the ring has 11 bits, this party allows 16 to 64"):
        strategy.start(apps.secure_grid(5, policy=Policy(ring_bits=(16, 64))), apps.model(), 1)
