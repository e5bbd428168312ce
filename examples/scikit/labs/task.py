"""labs: A Flower / Scikit-Learn app."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

SEED = 42
FEATURES, CLASSES = 30, np.array([0, 1])

Rows = tuple[NDArray[np.float64], NDArray[np.int64]]


def create_model() -> LogisticRegression:
    """A model of zeros. Before its first `fit`, scikit-learn gives it no coefficients; federated training needs some to begin with."""
    model = LogisticRegression(warm_start=True)
    model.classes_ = CLASSES
    model.coef_ = np.zeros((1, FEATURES))
    model.intercept_ = np.zeros(1)
    return model


def get_model_params(model: LogisticRegression) -> ArrayRecord:
    """What is to be averaged, by the names that scikit-learn has for it."""
    return ArrayRecord({"coef_": Array(model.coef_), "intercept_": Array(model.intercept_)})


def set_model_params(model: LogisticRegression, arrays: ArrayRecord) -> LogisticRegression:
    """The model with these parameters."""
    model.coef_, model.intercept_ = arrays["coef_"].numpy(), arrays["intercept_"].numpy()
    return model


def train(model: LogisticRegression, x: NDArray[np.float64], y: NDArray[np.int64], epochs: int, l2: float) -> None:
    """A few steps of the solver from where the model is.

    scikit-learn's `C` counts for all rows together. This one makes the penalty l2 / 2 times the squared coefficients *per row*, so that the
    mean over laboratories, weighted by rows, is about the same objective as that of all rows in one place.
    """
    model.set_params(C=1 / (l2 * len(y)), max_iter=epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop early
        model.fit(x, y)


def standardise(x: NDArray[np.float64], mean: list[float], deviation: list[float]) -> NDArray[np.float64]:
    """What StandardScaler does, with the statistics of all laboratories."""
    return (x - np.array(mean)) / np.array(deviation)


def load_data(partition_id: int, num_partitions: int) -> tuple[Rows, Rows]:
    """This laboratory's rows, for training and for evaluation. The larger its number, the more rows it has."""
    x, y = everything()[0]
    shares = np.cumsum(np.arange(1, num_partitions + 1) + num_partitions)
    own = np.split(np.arange(len(y)), np.round(shares[:-1] / shares[-1] * len(y)).astype(int))[partition_id]
    x_train, x_test, y_train, y_test = train_test_split(x[own], y[own], test_size=0.2, random_state=SEED)
    return (x_train, y_train), (x_test, y_test)


@cache
def everything() -> tuple[Rows, Rows]:
    """The rows that are dealt to the laboratories, and the public test set, a fifth of all."""
    x, y = load_breast_cancer(return_X_y=True)
    x_dealt, x_test, y_dealt, y_test = train_test_split(x, y, test_size=0.2, random_state=SEED, stratify=y)
    return (x_dealt, y_dealt), (x_test, y_test)
