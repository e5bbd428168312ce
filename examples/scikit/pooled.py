"""scikit: the federated model as a scikit-learn pipeline, and the same training on all rows in one place, which only a demo can have."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from stfed.sealed.numpy import load_file

APP = Path(__file__).parent


class Model(NamedTuple):
    """A model's training rows, and its accuracy and log loss on the public test set."""

    rows: int
    accuracy: float
    loss: float


def pipeline(scaler: dict[str, Any], arrays: dict[str, NDArray[np.float64]]) -> Pipeline:
    """An ordinary fitted scikit-learn pipeline out of what the two runs left."""
    first = StandardScaler()
    first.mean_, first.scale_ = np.array(scaler["mean"]), np.array(scaler["deviation"])
    last = _task().set_model_params(_task().create_model(), ArrayRecord({name: Array(value) for name, value in arrays.items()}))
    return make_pipeline(first, last)


def federated(folder: Path, scaler: dict[str, Any]) -> Model:
    """The last sealed model of a run."""
    newest = sorted((folder / "models").iterdir())[-1]
    return _judged(pipeline(scaler, load_file(newest, identity=folder / "key")), int(scaler["rows"]))


def pooled(labs: int) -> Model:
    """StandardScaler and LogisticRegression on the training rows of all laboratories."""
    parts = [_task().load_data(lab, labs)[0] for lab in range(labs)]
    return _fitted(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))


def alone(labs: int) -> list[Model]:
    """The same for each laboratory with its own rows."""
    return [_fitted(*_task().load_data(lab, labs)[0]) for lab in range(labs)]


def scaler_differs(scaler: dict[str, Any], labs: int) -> float:
    """The largest difference from NumPy on all rows, in units of the error that was stated: at most 1 if all of them are right."""
    x = np.concatenate([_task().load_data(lab, labs)[0][0] for lab in range(labs)])
    mean = abs(np.array(scaler["mean"]) - x.mean(0)) / np.array(scaler["mean_error"])
    variance = abs(np.array(scaler["deviation"]) ** 2 - x.var(0, ddof=1)) / np.array(scaler["variance_error"])
    return float(max(mean.max(), variance.max()))


def _fitted(x: NDArray[np.float64], y: NDArray[np.int64]) -> Model:
    l2 = tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]["l2"]
    return _judged(make_pipeline(StandardScaler(), LogisticRegression(C=1 / (l2 * len(y)), max_iter=1000)).fit(x, y), len(y))


def _judged(model: Pipeline, rows: int) -> Model:
    x, y = _task().everything()[1]
    return Model(rows, float(model.score(x, y)), float(log_loss(y, model.predict_proba(x))))


def _task() -> ModuleType:
    """The app's own module. It is an app of its own, with its own place on the path."""
    sys.path.insert(0, str(APP))
    try:
        from labs import task
    finally:
        sys.path.remove(str(APP))
    return task
