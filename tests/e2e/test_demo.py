"""The main job, end to end on Flower's simulation runtime: real SuperLink, real parties in processes of their own, real files."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed.cli import main

ROOT = Path(__file__).parents[2]


def small_config(folder: Path, **changes: object) -> Path:
    """The quickstart with fewer rounds and parties."""
    values = {**tomllib.loads((ROOT / "configs" / "quickstart.toml").read_text()), "num-server-rounds": 2, "num-parties": 5, **changes}
    path = folder / "small.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return path


@pytest.mark.e2e
def test_the_demo_runs_equals_plain_fedavg_and_leaves_sealed_models(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "examples.hospitals", str(small_config(tmp_path)), str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "secure and plain are equal" in result.stdout
    assert "1 dropped" in result.stdout
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "end"
    assert events[-1]["failure"] is None
    sums = [event for event in events if event["event"] == "round" and event["phase"] == "train"]
    assert [len(event["summed"]) for event in sums] == [4, 4]

    sealed = out / "models" / "round-002.safetensors"
    assert set(safetensors.numpy.load_file(sealed)) >= {"stfed.envelope", "stfed.payload"}
    opened = tmp_path / "opened.safetensors"
    assert main(["open", str(sealed), "--identity", str(out / "key"), "--out", str(opened)]) == 0
    weights = safetensors.numpy.load_file(opened)
    assert all(np.isfinite(value).all() and value.dtype == np.float32 for value in weights.values())
    assert main(["inspect", str(sealed)]) == 0
    assert not (out / "flwr").exists(), "Flower's home of the run is removed"
    assert not (out / "state").exists(), "the parties' state of the run is removed"


def test_bad_run_files_are_refused_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no.toml"
    broken = tmp_path / "broken.toml"
    broken.write_text("num-parties = ")
    silent = tmp_path / "silent.toml"
    silent.write_text("seed = 1\n")
    for path, text in ((missing, "cannot be read"), (broken, "is not TOML"), (silent, "how many parties")):
        assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 1
        assert text in capsys.readouterr().err
    (tmp_path / "out").mkdir(exist_ok=True)
    good = small_config(tmp_path)
    assert main(["run", str(good), "--out", str(tmp_path / "out")]) == 1
    assert "never writes over another one" in capsys.readouterr().err
