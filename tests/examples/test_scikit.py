"""The scikit-learn app: its scaler is NumPy's on all rows, its model as good as a pooled one; the demo sees a scaler that is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from sklearn.linear_model import LogisticRegression

from examples.scikit import __main__ as demo
from examples.scikit import pooled
from stfed.flower import pinned_app, secagg_mod
from stfed.flower.runtime import SimulationRuntime
from stfed.testing import InMemoryGrid

LABS, ROUNDS = 3, 3


@pytest.fixture(autouse=True)
def _own_place_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(demo.APP))


@pytest.mark.e2e
def test_scaler_and_model_are_those_of_all_rows_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training on Flower's simulation runtime, the survey before it in this process: one start of Ray less."""
    train = demo.run_step

    def run_step(step: str, runtime: SimulationRuntime, labs: int, rounds: int) -> None:
        if step == "measure":
            measure(tmp_path, labs)
        else:
            train(step, runtime, labs, rounds)

    monkeypatch.setattr(demo, "run_step", run_step)
    assert demo.main(["--labs", str(LABS), "--rounds", str(ROUNDS), str(tmp_path)]) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    assert "those of all rows in one place" in printed
    assert "NOT" not in printed
    scaler = json.loads((tmp_path / "scaler.json").read_text())
    together, one_place = pooled.federated(tmp_path, scaler), pooled.pooled(LABS)
    assert together.rows == one_place.rows
    assert together.accuracy >= one_place.accuracy - 0.02
    assert together.loss < 1.2 * one_place.loss
    assert f"{together.accuracy:.4f}" in printed

    for field in ("mean", "deviation"):
        wrong = {**scaler, field: [scaler[field][0] * 1.001, *scaler[field][1:]]}
        assert pooled.scaler_differs(wrong, LABS) > 1, "the demo sees statistics that are wrong"
    without = {**scaler, "mean": [0.0] * 30, "deviation": [1.0] * 30}
    assert pooled.federated(tmp_path, without).accuracy < 0.8, "the model belongs to its scaler"


def measure(folder: Path, labs: int) -> None:
    """The step `measure` of the app's own ServerApp and ClientApp."""
    from labs import client_app, server_app

    def node(lab: int) -> dict[str, Any]:
        return {"partition-id": lab, "num-partitions": labs, "stfed-state-dir": str(folder / "parties")}

    grid = InMemoryGrid(client_app.app, labs, node_config=node)
    server_app.app(grid, Context(grid.run.run_id, 0, {}, RecordDict(), {"step": "measure", "out": str(folder)}))


def test_a_model_survives_the_way_there_and_back() -> None:
    from labs import task

    (x, y), _ = task.load_data(0, LABS)
    model = task.create_model()
    assert model.predict_proba(x[:1]).tolist() == [[0.5, 0.5]]
    task.train(model, x / 100, y, 50, 0.01)
    back = task.set_model_params(task.create_model(), task.get_model_params(model))
    np.testing.assert_array_equal(back.predict_proba(x / 100), model.predict_proba(x / 100))
    assert isinstance(back, LogisticRegression)
    # A few steps from where it was, and not anew: it gets no worse.
    before = back.score(x / 100, y)
    task.train(back, x / 100, y, 1, 0.01)
    assert back.score(x / 100, y) >= before - 0.02


def test_it_needs_no_torch_and_can_be_pinned() -> None:
    assert pinned_app.load("labs.client_app:app")[1] is secagg_mod
    code = f"import sys; sys.path.insert(0, {str(demo.APP)!r}); import labs.client_app, labs.server_app; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "False"
