"""The benchmarks run, measure every step and get the mean right. Times are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context
from flwr.serverapp import Grid

from benchmarks import compare, flower_secagg, round
from benchmarks.points import DEFAULT, GRID, Point
from stfed.bench import limits
from stfed.bench import round as stfed_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Spent, Stopwatch
from stfed.bench.workload import NAME, Workload
from stfed.secagg.params import choose

ROOT = Path(__file__).parent.parent.parent
OUR_STEPS = {
    PARTIES: {"join", "prepare", "hash", "train", "seal", "unmask"},
    COORDINATOR: {"join", "prepare", "hash", "train", "sum", "unmask", "recover", "decode"},
}


def test_the_quick_comparison_runs_both_and_both_are_right(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.compare", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout

    result = json.loads(file.read_text())
    # There is too little to win in so few parties, so there is no target.
    assert [line["target"] for line in result["lines"]] == [None] * 6
    assert all(line["measured"] > 0 for line in result["lines"])
    complete, sparse = result["data"]["points"]
    assert (complete["stfed"]["n"], complete["stfed"]["k"], complete["stfed"]["t"], complete["stfed"]["dropped"]) == (10, 9, 6, 1)
    assert (sparse["stfed"]["graph"], sparse["stfed"]["k"], sparse["stfed"]["t"]) == ("harary", 8, 5)
    for point in (complete, sparse):
        assert 0 < point["stfed"]["max_error"] <= point["stfed"]["error_bound"] + 2**-24
        assert 0 < point["flower"]["max_error"] <= point["flower"]["error_bound"]
    steps = {(step["role"], step["step"]): step["calls"] for step in complete["stfed"]["steps"]}
    assert set(steps) == {(role, step) for role, names in OUR_STEPS.items() for step in names}
    assert (steps[PARTIES, "prepare"], steps[PARTIES, "seal"], steps[PARTIES, "unmask"]) == (10, 9, 9)
    flower = {step["step"]: step["calls"] for step in complete["flower"]["steps"] if step["role"] == PARTIES}
    assert flower == {"setup": 10, "share_keys": 10, "collect_masked_vectors": 9, "unmask": 9}


def test_flower_gets_our_neighbours_and_our_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[flower_secagg.SecAggPlusWorkflow] = []

    class Watched(flower_secagg.SecAggPlusWorkflow):
        def __call__(self, grid: Grid, context: Context) -> None:
            made.append(self)

    monkeypatch.setattr(flower_secagg, "SecAggPlusWorkflow", Watched)
    for point, shares, threshold in ((Point(34, 100, "sparse"), 9, 5), (Point(20, 100), 1.0, 0.6)):
        parameters = point.parameters()
        result = flower_secagg.run_round(point.workload(), shares=parameters.k + 1, threshold=parameters.t)
        assert (made[-1].num_shares, made[-1].reconstruction_threshold) == (shares, threshold)
        assert not result.exact  # the workflow did nothing, and that is noticed


def test_a_point_that_cannot_be_run_says_why(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare.main(["--parties", "10", "--graph", "sparse"]) == 0
    assert "not measured  up to 32 parties stfed takes part in complete graphs only" in capsys.readouterr().out
    monkeypatch.setattr(compare, "available_bytes", lambda: 1 << 30)
    assert compare.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.count("not measured  it needs about") == len(list(_wanted_lines()))
    assert "whole round, Flower / stfed         -   >= 30  not measured" in printed


def _wanted_lines() -> list[str]:
    return [name for point in DEFAULT for name, _ in point.wanted()]


def test_the_grid_has_every_combination_and_targets_at_one_size() -> None:
    assert len(GRID) == len(set(GRID)) == 3 * 3 * 2 * 3
    assert set(DEFAULT) <= set(GRID)
    assert [str(point) for point in GRID if point.targets] == [
        "n = 100, d = 1,000,000, complete, 10% drop",
        "n = 100, d = 1,000,000, sparse, 10% drop",
    ]
    for point in GRID:
        if point.graph == "complete":
            assert (point.parameters().k, point.parameters().t) == (point.n - 1, round_half(0.6 * point.n))
        elif point.n > 32:
            assert point.parameters().graph == "harary"


def round_half(value: float) -> int:
    return int(value + 0.5)


def test_a_sparse_round_on_two_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    size = ["--parties", "40", "--parameters", "20000", "--graph", "sparse", "--gamma", "0.05", "--delta", "0.05", "--dropout", "0.05"]
    round.main([*size, "--threads", "2", "--json", str(file)])
    assert "harary graph" in capsys.readouterr().out
    result = json.loads(file.read_text())["stfed"]
    assert result["max_error"] <= result["error_bound"] + 2**-24
    assert result["masks_removed"] <= 38 + 2 * result["k"]


def test_the_masks_that_a_coordinator_removes_are_counted() -> None:
    workload = Workload(parties=12, parameters=100, dropout=0.25)
    result = stfed_round.run_round(workload, choose(12, 0.0, 0.25, graph="complete"))
    assert result.exact
    # One self mask for each of the 9 that stay, and one pairwise mask for each of them and each of the 3 that drop.
    assert result.masks_removed == 9 + 3 * 9


def test_a_wrong_mean_would_be_noticed() -> None:
    workload = Workload(parties=5, parameters=1000)
    wrong = workload.mean.copy()
    wrong[7] += 1e-3
    assert workload.error(wrong) == pytest.approx(1e-3)
    assert workload.error(workload.mean) == 0.0
    ours = stfed_round.run_round(workload, choose(5, 0.0, 0.1))
    assert not stfed_round.Result(**{**vars(ours), "error": 1e-3}).exact


def test_a_workload_is_the_same_at_every_look_and_different_for_every_party() -> None:
    workload = Workload(parties=10, parameters=50, dropout=0.2)
    assert len(workload.dropped) == 2
    assert workload.dropped == Workload(parties=10, parameters=50, dropout=0.2).dropped
    assert (workload.trained(3)[NAME] == workload.trained(3)[NAME]).all()
    assert not np.array_equal(workload.trained(3)[NAME], workload.trained(4)[NAME])
    assert workload.trained(3)[NAME].dtype == np.float32


def test_the_lower_ratio_of_both_clocks_counts() -> None:
    assert compare.Row("coordinator", flower=Spent(30.0, 20.0, 1), stfed=Spent(0.1, 0.1, 1)).ratio == pytest.approx(200.0)
    assert compare.Row("coordinator", flower=Spent(30.0, 50.0, 1), stfed=Spent(0.1, 0.1, 1)).ratio == pytest.approx(300.0)


def test_a_stopwatch_adds_up_by_role_and_step() -> None:
    times = Stopwatch()
    for role, step in ((PARTIES, "a"), (COORDINATOR, "a"), (PARTIES, "b"), (PARTIES, "a")):
        with times.timing(role, step):
            pass
    assert {key: spent.calls for key, spent in times.steps.items()} == {(PARTIES, "a"): 2, (COORDINATOR, "a"): 1, (PARTIES, "b"): 1}
    assert times.of(PARTIES).wall_s == times.of(PARTIES, "a").wall_s + times.of(PARTIES, "b").wall_s


def test_limits_are_positive() -> None:
    limit = limits.measure()
    assert limit.keystream_ns > 0
    assert limit.add_ns > 0
    assert limit.mask_ns == limit.keystream_ns + limit.add_ns
