"""Four lines make an ordinary Flower app a secure one: the README's diff, applied, and both apps run on Flower's simulation runtime."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import torch

from stfed.flower.runtime import SimulationRuntime, tail

ROOT = Path(__file__).parents[2]
PLAIN = ROOT / "examples" / "plain"
ROUNDS, PARTIES = 2, 4


def readme_diff() -> str:
    blocks = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, "the README shows one diff"
    return blocks[0]


def secured(folder: Path) -> Path:
    app = folder / "secure"
    shutil.copytree(PLAIN, app, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["patch", "--strip=1", "--fuzz=0"], input=readme_diff().encode(), cwd=app, check=True)
    return app


def test_the_diff_changes_four_lines() -> None:
    lines = readme_diff().splitlines()
    added = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    removed = [line for line in lines if line.startswith("-") and not line.startswith("---")]
    assert len(added) == 4
    assert len(removed) == 2


@pytest.mark.e2e
def test_the_plain_app_and_the_secure_one_give_the_same_model(tmp_path: Path) -> None:
    config = {**tomllib.loads((PLAIN / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"], "num-server-rounds": ROUNDS}
    models = {}
    for name, app in (("plain", PLAIN), ("secure", secured(tmp_path))):
        copy = tmp_path / name
        if app != copy:
            shutil.copytree(app, copy, ignore=shutil.ignore_patterns("__pycache__"))
        models[name] = run(tmp_path / f"{name}-run", copy, config)
    assert models["plain"].keys() == models["secure"].keys()
    for key, value in models["plain"].items():
        assert models["secure"][key].dtype == value.dtype
        # clip 8 and max_weight 10,000 are the defaults: with 360 examples in 4 parties the encoding is exact to 2e-6 a round.
        assert (models["secure"][key] - value).abs().max() < 1e-5


def run(work: Path, app: Path, config: dict[str, int | float]) -> dict[str, torch.Tensor]:
    """Runs an app and returns the model it saved (in the ServerApp's working folder, which is the SuperLink's)."""
    with SimulationRuntime(work) as runtime:
        runtime.start_run(app, config, PARTIES)
        deadline = time.monotonic() + 180
        while not runtime.finished():
            assert time.monotonic() < deadline, tail(runtime.run_log, 60)
            time.sleep(0.2)
        saved = list(runtime.work_dir.rglob("final_model.pt")) or list(app.rglob("final_model.pt"))
        assert saved, tail(runtime.run_log, 60)
        return torch.load(saved[0], weights_only=True)
