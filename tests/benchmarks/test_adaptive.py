"""The benchmark of adaptive clips: a short training of its own, and what its figures are made of."""

from __future__ import annotations

import pytest

from benchmarks import adaptive
from benchmarks.adaptive import FIXED, STARTS, Round
from benchmarks.updates import Federation
from stfed.flower import AdaptiveClip


def test_a_run_learns_its_clip_and_its_error_falls() -> None:
    federation = Federation("breast-cancer", 3, 3)
    found, accuracy = adaptive.training(federation, 3, AdaptiveClip(initial=2.0**-12, low=2.0**-20))
    assert found[0].clip == 2.0**-12
    assert found[0].clipped > 0.5 > found[-1].clipped
    assert found[-1].nmse < 0.1 * found[0].nmse
    assert accuracy > 0.3
    assert [one.clip for one in adaptive.training(federation, 1, 0.25)[0]] == [0.25]


def test_lines_and_plots_are_made_of_the_rounds() -> None:
    runs = {
        FIXED: [Round(0.5, 0.0, 0.01)] * 4,
        **{name: [Round(0.25, 0.5, 1.0), Round(1.0, 0.0, 0.02), Round(0.5, 0.0, 0.01), Round(0.5, 0.0, 0.01)] for name in STARTS},
    }
    accuracies = {FIXED: 0.9, **dict.fromkeys(STARTS, 0.88)}
    until, later, lost, *_ = adaptive.lines(runs, accuracies)
    assert (until.measured, until.met, until.note) == (1, True, "log2 of the clip: -2 0 -1 -1")
    assert later.measured == pytest.approx(0.04 / 0.03)
    assert lost.measured == pytest.approx(2.0)
    runs["right"] = [Round(0.25, 0.5, 1.0)] * 4
    assert [line.measured for line in adaptive.lines(runs, accuracies) if line.name.startswith("right: rounds")] == [None]
    assert [plot["name"] for plot in adaptive.plots(runs)] == ["clip", "nmse"]
