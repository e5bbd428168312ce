"""The ordinary Flower app in `examples/plain` is one: its components load, it runs, it learns."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import torch
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from stfed.testing import InMemoryGrid

APP = Path(__file__).parents[2] / "examples" / "plain"


def test_the_plain_app_runs_and_learns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.chdir(tmp_path)
    app = tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    server, client = (import_module(app["components"][side].partition(":")[0]) for side in ("serverapp", "clientapp"))
    try:
        assert isinstance(server.app, ServerApp)
        assert isinstance(client.app, ClientApp)
        grid = InMemoryGrid(client.app, 5, run_config=app["config"])
        server.main(grid, Context(grid.run.run_id, 1, {}, RecordDict(), app["config"]))
        model = sys.modules["clinics.task"].Net()
        model.load_state_dict(torch.load(tmp_path / "final_model.pt", weights_only=True))
        accuracies = [sys.modules["clinics.task"].test(model, load(party), "cpu")[1] for party in range(5)]
        assert sum(accuracies) / 5 > 0.92
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "clinics"]:
            del sys.modules[name]


def load(party: int) -> object:
    return sys.modules["clinics.task"].load_data(party, 5, 16)[1]
