"""survey: the codebook, and each hospital's rows.

The ranges are those of the data set's own published description, rounded outwards, so nobody computed them from a hospital's rows. The
steps say how finely anything is ever counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

from stfed.flower.analytics import Category, Number

CODEBOOK = {
    "mean radius": Number(5, 30, step=0.5),
    "mean texture": Number(5, 40, step=1),
    "mean smoothness": Number(0.05, 0.17, step=0.005),
    "mean area": Number(100, 2600, step=100),
    "diagnosis": Category("malignant", "benign"),
}


def everything() -> dict[str, NDArray[np.generic]]:
    """All rows in one place, which no hospital has; for the comparison."""
    found = load_breast_cancer()
    columns = {name: found.data[:, list(found.feature_names).index(name)] for name in CODEBOOK if name != "diagnosis"}
    return {**columns, "diagnosis": found.target_names[found.target]}


def rows_of(hospital: int, hospitals: int, names: Sequence[str]) -> Mapping[str, NDArray[np.generic]]:
    """The asked columns of one hospital. The larger its number, the more rows it has."""
    columns = everything()
    order = np.random.default_rng(42).permutation(len(columns["diagnosis"]))
    shares = np.cumsum(np.arange(1, hospitals + 1) + hospitals)
    own = np.split(order, np.round(shares[:-1] / shares[-1] * len(order)).astype(int))[hospital]
    return {name: columns[name][own] for name in names}
