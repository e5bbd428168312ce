"""deployment: what the wards computed, read from their own disks, to look for it in what others have and to compare it with the sums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from examples.deployment.scene import Coordinator
from stfed.sealed.numpy import load_file
from stfed.testing.leaks import Secrets

Arrays = dict[str, np.ndarray]


def secrets_of(folders: Iterable[Path], runs: str = "*") -> Secrets:
    """All updates, models and metrics that these wards noted.

    Args:
        folders: of the wards.
        runs: pattern of run ids.
    """
    secrets = Secrets()
    for folder in folders:
        for path in sorted((folder / "secrets").glob(f"{runs}.npz")):
            before, after, metrics = _read(path)
            server_round = int(path.stem.rpartition("-")[2])
            secrets.add_update(folder.name, server_round, before, after)
            secrets.add_metrics(folder.name, server_round, {name: value.item() for name, value in metrics.items()})
    return secrets


def mean_of(folders: Iterable[Path], run: str, server_round: int) -> tuple[Arrays, Arrays]:
    """The model that these wards got in a round, and the plain weighted mean of what they made of it."""
    noted = [_read(folder / "secrets" / f"{run}-{server_round}.npz") for folder in folders]
    weights = [float(metrics["num-examples"]) for _, _, metrics in noted]
    before = noted[0][0]
    mean = {name: np.average([after[name].astype(np.float64) for _, after, _ in noted], axis=0, weights=weights) for name in before}
    return before, mean


def opened(coordinator: Coordinator, run: str, server_round: int) -> Arrays:
    """A round's sealed model."""
    path = coordinator.out / "models" / f"run-{run}" / f"round-{server_round:03d}.safetensors"
    return dict(load_file(path, identity=coordinator.key, trusted=f"{coordinator.key}.pub"))


def _read(path: Path) -> tuple[Arrays, Arrays, Arrays]:
    with np.load(path) as noted:
        before, after, metrics = (
            {name.partition("/")[2]: noted[name] for name in noted.files if name.startswith(kind)}
            for kind in ("before/", "after/", "metric/")
        )
    return before, after, metrics
