"""The benchmarks run, measure every step and get the mean right. Times are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, limits, round
from benchmarks.stopwatch import COORDINATOR, PARTIES, Spent, Stopwatch
from benchmarks.workload import NAME, Workload
from stfed.secagg.params import choose

ROOT = Path(__file__).parent.parent.parent
OUR_STEPS = {
    PARTIES: {"join", "prepare", "hash", "train", "encode", "mask", "pack", "unmask"},
    COORDINATOR: {"join", "prepare", "hash", "train", "sum", "unmask", "recover", "decode"},
}


def test_the_quick_comparison_runs_both_and_both_are_right(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.compare", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout
    assert done.stdout.count("right") == 2
    # There is too little to win in ten parties, so there is no target.
    assert ", met" not in done.stdout
    assert ", missed" not in done.stdout

    result = json.loads(file.read_text())
    assert result["exact"]
    assert (result["stfed"]["n"], result["stfed"]["k"], result["stfed"]["t"], result["stfed"]["dropped"]) == (10, 9, 6, 1)
    assert 0 < result["stfed"]["max_error"] <= result["stfed"]["error_bound"] + 2**-24
    assert 0 < result["flower"]["max_error"] <= result["flower"]["error_bound"]
    steps = {(step["role"], step["step"]): step["calls"] for step in result["stfed"]["steps"]}
    assert set(steps) == {(role, step) for role, names in OUR_STEPS.items() for step in names}
    assert (steps[PARTIES, "prepare"], steps[PARTIES, "mask"], steps[PARTIES, "unmask"]) == (10, 9, 9)
    flower = {step["step"]: step["calls"] for step in result["flower"]["steps"] if step["role"] == PARTIES}
    assert flower == {"setup": 10, "share_keys": 10, "collect_masked_vectors": 9, "unmask": 9}
    assert set(result["ratios"]) == {"coordinator", "parties", "whole round"}
    assert all(ratio["wall"] > 0 and ratio["process"] > 0 for ratio in result["ratios"].values())


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
    result = round.run_round(workload, choose(12, 0.0, 0.25, graph="complete"))
    assert result.exact
    # One self mask for each of the 9 that stay, and one pairwise mask for each of them and each of the 3 that drop.
    assert result.masks_removed == 9 + 3 * 9


def test_a_wrong_mean_would_be_noticed() -> None:
    workload = Workload(parties=5, parameters=1000)
    wrong = workload.mean.copy()
    wrong[7] += 1e-3
    assert workload.error(wrong) == pytest.approx(1e-3)
    assert workload.error(workload.mean) == 0.0
    ours = round.run_round(workload, choose(5, 0.0, 0.1))
    assert not round.Result(**{**vars(ours), "error": 1e-3}).exact


def test_an_impossible_threshold_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main(["--parties", "10", "--parameters", "100", "--threshold", "10"])
    assert "t = 10" in capsys.readouterr().err


def test_a_workload_is_the_same_at_every_look_and_different_for_every_party() -> None:
    workload = Workload(parties=10, parameters=50, dropout=0.2)
    assert len(workload.dropped) == 2
    assert workload.dropped == Workload(parties=10, parameters=50, dropout=0.2).dropped
    assert (workload.trained(3)[NAME] == workload.trained(3)[NAME]).all()
    assert not np.array_equal(workload.trained(3)[NAME], workload.trained(4)[NAME])
    assert workload.trained(3)[NAME].dtype == np.float32


def test_rows_compare_and_judge() -> None:
    row = compare.Row("coordinator", flower=Spent(30.0, 20.0, 1), stfed=Spent(0.1, 0.1, 1), target=100)
    assert row.ratios == pytest.approx({"wall": 300.0, "process": 200.0})
    assert str(row).endswith("> 100, met")
    # Both clocks have to reach the target.
    assert str(compare.Row("coordinator", Spent(30.0, 9.0, 1), Spent(0.1, 0.1, 1), 100)).endswith("> 100, missed")


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
