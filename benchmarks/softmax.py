"""Many parties with real data that train a small model, a whole round of all of them in a few matrix products, and a Flower grid of them.

The model is softmax regression: one matrix, the last row of which is the bias. What is measured with it is what an aggregation does, over
hundreds of trainings, so a round has to take milliseconds. Images are averaged over squares of pixels first, which needs no data.

`CrowdGrid` is a Flower Grid, so that strategies run as they are, from their own `start`: its replies are real messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Train = Callable[[Floats, int], Floats]
"""From the received model and the number of the round to what each party sends: shape (n, features, classes)."""
Groups = Sequence[Sequence[int]]
"""Parties by their number."""

TENSOR, WEIGHT = "softmax", "num-examples"
DATA_SEED = 7
"""The data are dealt the same way in every run."""


class Crowd:
    """Parties with real data. The same seed gives the same training.

    Args:
        dataset: "mnist", "digits" or "breast-cancer".
        parties: n.
        seed: of the batches.
        side: images become so many means a side, or stay as they are if they have no more pixels.
        alpha: of the Dirichlet distribution that the classes are dealt by (examples/hospitals/data.py); None deals evenly.
        lr: learning rate.
        steps: of gradient descent that a party does in a round.
        batch: samples a step.

    Attributes:
        shape: of the model: features and a bias, by classes.
    """

    def __init__(
        self,
        dataset: str,
        parties: int,
        seed: int,
        *,
        side: int = 14,
        alpha: float | None = None,
        lr: float = 0.1,
        steps: int = 5,
        batch: int = 32,
    ) -> None:
        from examples.hospitals.data import public_test

        test = public_test(dataset, DATA_SEED)
        hands = _dealt(dataset, parties, alpha)
        self._test_x, self._test_y = _features(test.x.numpy(), side), test.y.numpy()
        self._sizes = np.array([len(labels) for _, labels in hands])
        self.parties, self.classes = parties, int(self._test_y.max()) + 1
        self.shape = (self._test_x.shape[1], self.classes)
        self._x = np.zeros((parties, self._sizes.max(), self.shape[0]), np.float32)
        self._y = np.zeros((parties, self._sizes.max()), np.int64)
        for party, (samples, labels) in enumerate(hands):
            self._x[party, : len(labels)], self._y[party, : len(labels)] = _features(samples, side), labels
        self._seed, self._lr, self._steps, self._batch = seed, lr, steps, batch

    @property
    def initial(self) -> Floats:
        """The model of round 0: the problem is convex, and this is as good as any."""
        return np.zeros(self.shape, np.float32)

    def train(self, model: Floats, server_round: int, relabel: NDArray[np.int64] | None = None) -> Floats:
        """One round of local training.

        Args:
            model: what all parties receive.
            server_round: from 1.
            relabel: shape (n, classes): the label that a party trains on for each true one; the true ones by default.

        Returns:
            Shape (n, features, classes): the models of all parties.
        """
        rng = np.random.default_rng([self._seed, server_round])
        trained, everybody = np.repeat(model[None], self.parties, axis=0), np.arange(self.parties)[:, None]
        for _ in range(self._steps):
            rows = rng.integers(0, self._sizes[:, None], (self.parties, self._batch))
            x, y = self._x[everybody, rows], self._y[everybody, rows]
            if relabel is not None:
                y = relabel[everybody, y]
            logits = x @ trained
            chances = np.exp(logits - logits.max(2, keepdims=True))
            chances /= chances.sum(2, keepdims=True)
            chances -= np.eye(self.classes, dtype=np.float32)[y]
            trained -= np.float32(self._lr / self._batch) * (x.transpose(0, 2, 1) @ chances)
        return trained

    def accuracy(self, model: Floats) -> float:
        """On the public test set."""
        return float(np.mean((self._test_x @ model).argmax(1) == self._test_y))


def _dealt(dataset: str, parties: int, alpha: float | None) -> list[tuple[Floats, NDArray[np.int64]]]:
    """Each party's samples and labels: disjoint, and none of the public test set."""
    from examples.hospitals.data import partitions

    if alpha is not None:
        return [(part.train.x.numpy(), part.train.y.numpy()) for part in partitions(dataset, parties, alpha, DATA_SEED)]
    everything = partitions(dataset, 1, 1.0, DATA_SEED)[0]
    x = np.concatenate([side.x.numpy() for side in everything])
    y = np.concatenate([side.y.numpy() for side in everything])
    order = np.random.default_rng(DATA_SEED).permutation(len(y))
    return [(x[rows], y[rows]) for rows in np.array_split(order, parties)]


def _features(x: Floats, side: int) -> Floats:
    """Rows of features and a one; images as the means of squares, `side` to a side."""
    if x.ndim == 4:
        side = min(side, x.shape[-1])
        square = x.shape[-1] // side
        x = x.reshape(len(x), side, square, side, square).mean((2, 4)).reshape(len(x), -1)
    return np.hstack([x, np.ones((len(x), 1), np.float32)]).astype(np.float32)


class CrowdGrid(Grid):
    """A Flower Grid whose parties all train at once.

    Args:
        train: what they do.
        parties: n.
        groups: none for one reply from each party; otherwise one reply per group, with the mean of its members, which is what stfed's
            groups give a strategy, up to rounding.
    """

    def __init__(self, train: Train, parties: int, groups: Groups = ()) -> None:
        self._train, self._parties, self._groups = train, parties, groups
        self.set_run(Run.create_empty(1))

    def set_run(self, run: Run) -> None:
        self._run = run
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run.run_id, SUPERLINK_NODE_ID, 1

    @property
    def run(self) -> Run:
        return self._run

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        return [SUPERLINK_NODE_ID + 1 + party for party in range(self._parties)]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        raise NotImplementedError("a crowd trains in send_and_receive")

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        raise NotImplementedError("a crowd trains in send_and_receive")

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Replies in the order of the parties, or one per group."""
        asked = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        if not asked:
            return []
        content = asked[0].content
        sent = self._train(content["arrays"][TENSOR].numpy(), int(content["config"]["server-round"]))
        if self._groups:
            sent = np.stack([sent[list(group)].mean(0) for group in self._groups])
        return [
            Message(RecordDict({"arrays": arrays_of(model), "metrics": MetricRecord({WEIGHT: 1})}), reply_to=message)
            for message, model in zip(asked, sent, strict=False)
        ]


def arrays_of(model: Floats) -> ArrayRecord:
    """The model as Flower moves it."""
    return ArrayRecord({TENSOR: Array(np.ascontiguousarray(model, np.float32))})


def model_of(arrays: ArrayRecord | None) -> Floats:
    """And back."""
    assert arrays is not None
    return np.asarray(arrays[TENSOR].numpy(), np.float32)


@contextmanager
def quiet() -> Iterator[None]:
    """Flower tells of every round; a benchmark has thousands."""
    loggers = [logging.getLogger(name) for name in ("flwr", "stfed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
