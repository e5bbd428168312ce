"""How many messages a node gets in a round, counted by a real SuperLink: two in the steady state, PREPARE riding on UNMASK."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.deployed import PINNED
from benchmarks.deployed_run import Setting, run


@pytest.mark.e2e
def test_a_round_in_the_steady_state_is_two_round_trips(tmp_path: Path) -> None:
    measured = run(PINNED, Setting(parties=3, rounds=3, parameters=100), tmp_path)
    assert measured.error < 1e-5
    # Nobody is asked to prepare for a round that will not be.
    steps = [trip.step.partition("-")[0] or "train" for trip in measured.trips]
    assert steps == ["join", "prepare", "train", "unmask", "train", "unmask", "train", "unmask"]
    assert all(len({passage.node for passage in trip.passages}) == len(trip.passages) == 3 for trip in measured.trips)
    assert all(len(trips) == 2 for trips in measured.steady_trips())
    # And after a node's first message, processes are there before the messages; a busy machine may be late with one or another.
    later = [passage for trip in measured.trips[1:] for passage in trip.passages]
    assert sum(measured.stamps[passage.message].began < (passage.fetched or 0.0) for passage in later) > len(later) / 2
