"""The benchmark of encrypted tensors runs small, what it measures is right, and a result beyond its bound would be noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import encrypted
from benchmarks.line import Section


def test_the_quick_run_measures_everything_and_all_of_it_is_right(tmp_path: Path) -> None:
    assert encrypted.main(["--quick", "--json", str(tmp_path / "e.json")]) == 0
    found = Section.from_json(json.loads((tmp_path / "e.json").read_text()))
    lines = {line.name: line for line in found.lines}
    compared = [name for name in lines if name.endswith("stfed / TenSEAL")]
    assert len(compared) == 9
    assert all(lines[name].target == encrypted.TARGET for name in compared)
    assert all(line.met for name, line in lines.items() if name.endswith("error / bound"))
    assert all(one["their_error"] < 0.02 for one in found.data["cases"])
    (refused,) = (line for name, line in lines.items() if "refused" in name)
    assert "not refused" not in refused.note
    assert lines["3 multiplications: bytes in memory / float32"].measured == pytest.approx(32, rel=0.05)
    (plot,) = found.data["plots"]
    assert [series["name"] for series in plot["series"]] == ["TenSEAL", "stfed"]
    assert all(len(series["y"]) == 9 for series in plot["series"])


def test_a_result_beyond_its_bound_is_wrong() -> None:
    one = encrypted.Measured("sum", "add", "TenSEAL", "", 1.0, 1.0, 1.0, 0.5, 0.4, 1e-3, 1e-9, 1e-8, 1e-8)
    assert encrypted.wrong([one]) == []
    assert encrypted.wrong([replace(one, error=1e-7)]) == ["sum: it is off by 1.00e-07, and its bound is 1.00e-08"]
    assert encrypted.wrong([replace(one, error=float("nan"))]) != []
    ratio, cores, error = encrypted.lines_of(replace(one, ours_s=1.2))
    assert (ratio.measured, ratio.met, cores.measured, error.met) == (1.2, False, 2.0, True)
    (alone,) = encrypted.lines_of(replace(one, short="", theirs_s=None))
    assert (alone.unit, alone.target) == ("s", None)
