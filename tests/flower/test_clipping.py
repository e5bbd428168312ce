"""The clip that is learnt: the search, on counts that are known and in rounds of real parties, and what parties do not let it do."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import FedAvg, FedMedian
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError, QuorumError
from stfed.flower import AdaptiveClip, AdaptiveClipping, DistributedDp, SecureAggregation
from stfed.flower.clipping import Clipping, Search
from stfed.flower.journal import Journal
from stfed.flower.settings import Settings
from stfed.secagg.policy import Policy
from stfed.testing import InMemoryGrid
from tests.flower import apps

COORDINATES = 1_000_000
TARGET = 1e-4
FREE = AdaptiveClip(low=2.0**-60, high=2.0**60)
NORMAL = NormalDist()

TAILS: dict[str, Callable[[float], float]] = {
    "normal": lambda c: 2 * NORMAL.cdf(-c),
    "Laplace": lambda c: math.exp(-c),
    "Student t3": lambda c: 1 - 2 / math.pi * (math.atan(c / math.sqrt(3)) + c / math.sqrt(3) / (1 + c * c / 3)),
    "one size": lambda c: float(c < 1),
    "one in a hundred changes": lambda c: 0.02 * NORMAL.cdf(-c / 30),
    "two kinds": lambda c: NORMAL.cdf(-c) + NORMAL.cdf(-c / 100),
}
"""The share of coordinates beyond c."""


def clipped_at(tail: Callable[[float], float], clip: float) -> int:
    return round(COORDINATES * tail(clip))


def walk(tail: Callable[[float], float], start: int, rounds: int, adaptive: AdaptiveClip = FREE) -> list[int]:
    """log2 of the clip, sum by sum."""
    return walk_from(Search(start), tail, rounds, adaptive)


def walk_from(search: Search, tail: Callable[[float], float], rounds: int, adaptive: AdaptiveClip = FREE) -> list[int]:
    found = []
    for _ in range(rounds):
        found.append(search.at)
        search = adaptive.next(search, clipped_at(tail, search.clip), COORDINATES)
    return found


def best(tail: Callable[[float], float]) -> int:
    """log2 of the smallest clip that cuts few enough."""
    return next(at for at in range(-20, 40) if clipped_at(tail, 2.0**at) <= TARGET * COORDINATES)


@given(kind=st.sampled_from(sorted(TAILS)), octaves=st.integers(-20, 20), scale=st.floats(0.5, 1.0))
def test_from_anywhere_it_finds_the_clip_and_stays(kind: str, octaves: int, scale: float) -> None:
    def tail(clip: float) -> float:
        return TAILS[kind](clip * scale)

    right, found = best(tail), walk(tail, best(tail) + octaves, 160)
    falls = [before - after for at, (before, after) in enumerate(pairwise(found)) if min(found[: at + 1]) < right]
    assert max(falls, default=0) <= 1, "it knows a clip that is too small, and falls fast"
    settled = found[8 + abs(octaves) // 2 + 12 :]
    assert right - 1 <= min(settled)
    assert max(settled) <= right + 1
    tries = [at for at in settled if at < right]
    assert len(tries) <= len(settled) // 8, "it swings"
    assert all(after == right for before, after in pairwise(settled) if before < right)


@pytest.mark.parametrize("kind", TAILS)
def test_a_hundred_times_too_small_or_too_large_is_made_good_in_a_few_rounds(kind: str) -> None:
    tail = TAILS[kind]
    right = best(tail)
    fits = [right, right + 1]
    up, down = walk(tail, right - 7, 9), walk(tail, right + 7, 9)
    assert {*up[2 if kind == "normal" else 6 :]} <= {right - 2, right - 1, *fits, right + 2}
    assert up[2] in fits or kind != "normal"
    assert any(at in fits for at in down[:6])
    assert min(down) >= right - 2
    assert max(walk(tail, right + 7, 160)[20:]) <= right + 1


@given(
    adaptive=st.tuples(st.integers(-80, 80), st.integers(0, 12), st.floats(0, 1), st.sampled_from([0.0, 1e-5, 1e-2, 0.49])),
    counts=st.lists(st.tuples(st.integers(0, 300), st.sampled_from([0, 1, 7, 300])), max_size=60),
)
def test_whatever_is_counted_the_clip_is_a_power_of_two_between_low_and_high(
    adaptive: tuple[int, int, float, float], counts: list[tuple[int, int]]
) -> None:
    """A party that lies may have any number of coordinates clipped, as far as the sum can hold it."""
    bottom, octaves, inside, target = adaptive
    low, high = 0.9 * 2.0**bottom, 1.5 * 2.0 ** (bottom + octaves)
    asked = AdaptiveClip(initial=low + inside * (high - low), target=target, low=low, high=high)
    search, was_too_small = asked.begin(), False
    for clipped, coordinates in counts:
        before, search = search, asked.next(search, min(clipped, coordinates), coordinates)
        assert bottom <= search.at <= bottom + octaves
        assert search.clip == 2.0**search.at
        assert -1 - (not was_too_small) <= search.at - before.at <= 8
        was_too_small |= min(clipped, coordinates) > target * coordinates
        assert coordinates or search == before
        assert search.small is None or search.small < search.at or search.at in (bottom, bottom + octaves)


def test_updates_that_become_smaller_are_followed() -> None:
    search, found = FREE.begin(), []
    for round_ in range(150):
        found.append(search.at)
        search = FREE.next(search, clipped_at(TAILS["normal"], search.clip * 1.05**round_), COORDINATES)
    assert found[0] - found[-1] >= 7
    too_small = sum(
        clipped_at(TAILS["normal"], 2.0**at * 1.05**round_) > 3 * TARGET * COORDINATES for round_, at in enumerate(found[8:], 8)
    )
    assert too_small <= 20


def test_after_many_calm_rounds_it_still_tries_before_long() -> None:
    tail = TAILS["one size"]
    search = Search(3)
    for _ in range(400):
        search = FREE.next(search, clipped_at(tail, search.clip), COORDINATES)
    tries = [at for at in walk_from(search, tail, 60) if at < best(tail)]
    assert 3 <= len(tries) <= 4


def test_where_the_share_says_little_it_makes_longer_and_longer_steps() -> None:
    tail = TAILS["one in a hundred changes"]
    assert max(walk(tail, best(tail) - 17, 8)) >= best(tail)


def test_a_share_that_is_nearly_the_target_is_left_alone() -> None:
    search = FREE.begin()
    for _ in range(50):
        search = FREE.next(search, 50, COORDINATES)
    assert search.at == 0
    assert FREE.next(search, 6, COORDINATES).at == -1, "a 16th is where it begins"


def test_a_target_of_none_grows_until_nothing_is_clipped() -> None:
    none = AdaptiveClip(initial=0.25, target=0)
    search = none.begin()
    for _ in range(6):
        search = none.next(search, clipped_at(TAILS["Laplace"], search.clip), COORDINATES)
    assert clipped_at(TAILS["Laplace"], search.clip) == 0
    assert search.clip <= 64


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"initial": "1"}, "initial of the adaptive clip is '1'"),
        ({"target": True}, "target of the adaptive clip is True"),
        ({"target": 0.5}, "target is 0.5"),
        ({"target": -1e-9}, "target is -1e-09"),
        ({"target": math.nan}, "target is nan"),
        ({"initial": 0.0}, "begins with initial=0.0"),
        ({"initial": 2.0**20}, "begins with initial=1048576.0"),
        ({"low": 0.0}, "between low=0.0"),
        ({"high": math.inf}, "high=inf"),
        ({"low": 1.1, "initial": 1.5, "high": 1.9}, "no power of two from 1.1 to 1.9"),
    ],
)
def test_what_cannot_be_asked_for(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalError, match=why):
        AdaptiveClip(**fields)


@pytest.mark.parametrize(("initial", "clip"), [(1.0, 1.0), (0.34, 0.5), (5.0, 8.0), (300_000, 2.0**19), (2.0**-9, 2.0**-9)])
def test_it_begins_with_the_next_power_of_two(initial: float, clip: float) -> None:
    asked = AdaptiveClip(initial=initial)
    assert asked.begin().clip == clip
    assert Settings(clip=asked).plan({"w": np.zeros(3)}, 5).clip == clip


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(LocalError, match="with dp the clip is a norm"):
        Settings(clip=AdaptiveClip(), dp=DistributedDp(l2_clip=1.0, noise_multiplier=1.0), uniform=True)
    with pytest.raises(LocalError, match="clip is a AdaptiveClipping") as caught:
        Settings(clip=AdaptiveClipping())  # type: ignore[arg-type]
    assert "AdaptiveClip(initial=1.0)" in str(caught.value.hint)
    assert Settings(clip=AdaptiveClip(initial=0.5)).as_dict()["clip"] == {"initial": 0.5, "target": 1e-4, "low": 2.0**-9, "high": 2.0**19}


# --- rounds ------------------------------------------------------------------------------------------------------------------------------

N = 5
MODEL = {"w": np.zeros(2000, np.float32)}
MOVES = Policy(clip_moves=True)
RIGHT = (0.5, 1.0)
"""The two clips that an update of deviation 0.1 may have for good: 4 to 8 deviations, and what is rounded up to a power of two."""


def shift(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
    change = np.random.default_rng([partition, server_round]).normal(0, 0.1, 2000)
    return {"w": (arrays["w"] + change).astype(np.float32)}, {"num-examples": 100 + partition, "train_loss": 1.0}


def grid_of(policy: Policy | None = MOVES, n: int = N, mod: Any = None, **options: Any) -> InMemoryGrid:
    return apps.secure_grid(n, app=apps.client_app(mod or apps.secure_mod(policy=policy), train=shift), **options)


def adaptive(strategy: Any = None, initial: float = 0.005, **fields: Any) -> SecureAggregation:
    return apps.secure(strategy, **{"value_bits": 10, "clip": AdaptiveClip(initial=initial), **fields})


def wanted(rounds: int) -> np.ndarray:
    weights = [100 + party for party in range(N)]
    changes = [np.average([shift(p, MODEL, at)[0]["w"] for p in range(N)], axis=0, weights=weights) for at in range(1, rounds + 1)]
    return np.sum(changes, axis=0)


def trained(strategy: SecureAggregation) -> list[Any]:
    return [report for report in strategy.reports if report.phase == "train"]


@pytest.mark.parametrize(("initial", "rounds"), [(0.005, 3), (100.0, 6)])
def test_a_clip_a_hundred_times_off_costs_a_few_rounds_and_then_the_mean_is_as_fine_as_with_the_right_one(
    initial: float, rounds: int
) -> None:
    learnt, known = adaptive(initial=initial), adaptive(clip=1.0)
    after_search = apps.Recorder()
    learnt.start(grid_of(), apps.record_of(MODEL), rounds + 2, evaluate_fn=after_search)
    assert [report.failure for report in learnt.reports] == [None] * (rounds + 2)
    assert learnt.reports[0].clip == pytest.approx(initial, rel=0.6)
    assert all(report.clip in RIGHT for report in learnt.reports[rounds:])
    result = known.start(grid_of(), apps.record_of(MODEL), 1)

    def error(before: ArrayRecord, after: ArrayRecord, at: int) -> float:
        return float(np.sqrt(np.mean((after["w"].numpy() - before["w"].numpy() - wanted(at) + wanted(at - 1)) ** 2)))

    last = rounds + 2
    found = error(after_search.models[last - 1], after_search.models[last], last)
    assert found <= 1.1 * error(apps.record_of(MODEL), result.arrays, 1)


def test_a_prepare_that_rides_has_the_clip_of_its_round() -> None:
    """Training after training: it rides as long as the clip stays. With an evaluation in between the clip is known in time."""
    alone, between = adaptive(initial=0.25), adaptive(FedAvg(), initial=0.25)
    alone.start(grid_of(), apps.record_of(MODEL), 4)
    between.start(grid_of(), apps.record_of(MODEL), 3)
    clips = [report.clip for report in alone.reports]
    assert clips[0] == 0.25
    assert clips[1:] == [clips[1]] * 3
    assert [report.trips for report in alone.reports] == [4, 3, 2, 2]  # JOIN, then PREPARE of its own, then riding
    assert [report.trips for report in between.reports] == [4, 2, 2, 2, 2, 2]
    assert [report.clip for report in trained(between)] == clips[:3]
    assert {report.clip for report in between.reports if report.phase == "evaluate"} == {0.25}


def test_in_malicious_mode() -> None:
    mod = apps.malicious_mod(N, clip_moves=True)
    strategy = apps.malicious(N, value_bits=8, clip=AdaptiveClip(initial=0.005))
    strategy.start(grid_of(mod=mod), apps.record_of(MODEL), 3)
    assert strategy.reports[-1].clip in RIGHT
    assert [report.failure for report in strategy.reports] == [None] * 3


def test_groups_learn_one_clip_from_all_of_their_sums() -> None:
    strategy = adaptive(FedMedian(fraction_evaluate=0.0), group_size=3)
    strategy.start(grid_of(n=9), apps.record_of(MODEL), 3)
    by_round = [{report.clip for report in strategy.reports if report.server_round == at} for at in (1, 2, 3)]
    assert all(len(clips) == 1 for clips in by_round)
    assert by_round[-1] <= {*RIGHT}


def test_of_groups_each_counts() -> None:
    """One party in nine changes a hundred times as much. Whichever group it is in, its coordinates are over one in 10,000."""

    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        after, metrics = shift(partition, arrays, server_round)
        return (after if partition else {"w": arrays["w"] + 100 * (after["w"] - arrays["w"])}), metrics

    strategy = adaptive(FedMedian(fraction_evaluate=0.0), initial=1.0, group_size=3)
    strategy.start(apps.secure_grid(9, app=apps.client_app(apps.secure_mod(policy=MOVES), train=train)), apps.record_of(MODEL), 4)
    clipped = [sum(report.clipped for report in strategy.reports if report.server_round == at) for at in (1, 4)]
    assert clipped[0] > 1000
    assert clipped[1] <= 2


def test_a_coordinator_that_starts_again_goes_on_with_the_clip_it_had(tmp_path: Path) -> None:
    grid, journal = grid_of(), tmp_path / "journal"
    before = adaptive(journal=journal)
    before.start(grid, apps.record_of(MODEL), 2)
    after = adaptive(journal=journal)
    after.start(grid, apps.record_of({"w": MODEL["w"] + 1}), 1)
    assert before.reports[0].clip < before.reports[1].clip <= after.reports[0].clip
    assert after.reports[0].clip in RIGHT


def test_what_was_learnt_is_kept_within_the_bounds_of_who_goes_on() -> None:
    journal = Journal()
    one = Clipping(AdaptiveClip(initial=4.0), journal, 7)
    for _ in range(3):
        one.learn([(90, 100), (95, 100)])
    assert one.clip > 64
    assert Clipping(AdaptiveClip(initial=4.0), journal, 7).clip == one.clip
    assert Clipping(AdaptiveClip(initial=4.0, high=20.0), journal, 7).clip == 16.0
    assert Clipping(AdaptiveClip(initial=4.0), journal, 8).clip == 4.0


def test_a_clip_that_is_as_large_as_it_may_be_and_too_small_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clipping = Clipping(AdaptiveClip(initial=4.0, high=4.0), Journal(), 7)
    clipping.learn([(0, 100)])
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    clipping = Clipping(AdaptiveClip(initial=4.0, high=4.0), Journal(), 8)
    clipping.learn([(90, 100)])
    assert "90 of 100 coordinates were clipped to 4, the largest clip; raise high" in caplog.text


def test_a_failed_round_teaches_nothing() -> None:
    strategy = adaptive(on_failure="skip")
    faults = [{"action": "drop-reply", "node": node, "step": "train", "occurrence": 2} for node in range(N)]
    strategy.start(apps.secure_grid(N, *faults, app=apps.client_app(apps.secure_mod(policy=MOVES), train=shift)), apps.record_of(MODEL), 3)
    assert [report.failure is None for report in strategy.reports] == [True, False, True]
    assert strategy.reports[1].clip == strategy.reports[2].clip


# --- what a party does not let it do -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "fields", "why"),
    [
        (None, {}, "another one than in the first round"),
        (Policy(clip_moves=True, clip=(2.0**-9, 0.25)), {}, "this party allows 0.00195312 to 0.25"),
        (Policy(clip_moves=True, clip=(1.0, 4.0)), {"initial": 4.0}, "this party allows 1 to 4"),
    ],
)
def test_a_party_that_has_not_agreed_refuses_before_it_trains(policy: Policy | None, fields: dict[str, Any], why: str) -> None:
    rounds: list[int] = []

    def train(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        rounds.append(server_round)
        return shift(partition, arrays, server_round)

    strategy, grid = adaptive(**fields), apps.secure_grid(N, app=apps.client_app(apps.secure_mod(policy=policy), train=train))
    with pytest.raises(QuorumError) as caught:
        strategy.start(grid, apps.record_of(MODEL), 8)
    assert why in " ".join(str(drop) for report in strategy.reports for drop in report.dropped.values())
    assert max(rounds) < int(strategy.reports[-1].server_round or 0), caught.value
