"""cheques: A Flower / PyTorch app."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy, max_pool2d, relu
from torch.utils.data import DataLoader, TensorDataset

SEED = 42
FLOOR = 10  # images that every branch has at least, before the uneven part

torch.set_num_threads(1)  # branches work side by side, each on a processor


class Net(nn.Module):
    """Two convolutions and a linear layer for grey images of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n, 10)."""
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


def initial_model() -> Net:
    """The model that all begin with."""
    torch.manual_seed(SEED)
    return Net()


def load_data(partition_id: int, num_partitions: int, alpha: float, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """This branch's images: a loader for training and one, with a fifth of them, for evaluation."""
    dealt, _ = _images()
    own = _partitions(num_partitions, alpha)[partition_id]
    train, test = train_test_split(own, test_size=0.2, random_state=SEED)
    order = torch.Generator().manual_seed(partition_id)
    trainloader = DataLoader(TensorDataset(*dealt[train]), batch_size=batch_size, shuffle=True, generator=order)
    return trainloader, DataLoader(TensorDataset(*dealt[test]), batch_size=256)


def load_centralized_test() -> DataLoader:
    """The public test set, a fifth of all images, which no branch has."""
    return DataLoader(TensorDataset(*_images()[1][:]), batch_size=512)


def train(net: Net, trainloader: DataLoader, epochs: int, lr: float) -> float:
    """Train the model on the training set and return the average loss."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    running_loss = 0.0
    for _ in range(epochs):
        for images, labels in trainloader:
            optimizer.zero_grad()
            loss = cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    return running_loss / (epochs * len(trainloader))


@torch.no_grad()
def test(net: Net, testloader: DataLoader) -> tuple[float, float]:
    """Return the model's mean loss and its accuracy."""
    net.eval()
    loss, correct, count = 0.0, 0, 0
    for images, labels in testloader:
        outputs = net(images)
        loss += cross_entropy(outputs, labels, reduction="sum").item()
        correct += (outputs.argmax(1) == labels).sum().item()
        count += len(labels)
    return loss / count, correct / count


@cache
def _images() -> tuple[TensorDataset, TensorDataset]:
    """scikit-learn's 1,797 digits: what is dealt to the branches, and the public test set."""
    x, y = load_digits(return_X_y=True)
    images, labels = torch.tensor(x / 16 - 0.5, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(y)
    dealt, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=SEED, stratify=y)
    return TensorDataset(images[dealt], labels[dealt]), TensorDataset(images[test], labels[test])


@cache
def _partitions(num_partitions: int, alpha: float) -> list[NDArray[np.int64]]:
    """Every branch's images, by number. Each digit is divided by its own draw from a Dirichlet distribution, so that some branches see
    hardly any sevens; the smaller alpha, the fewer.
    """
    rng = np.random.default_rng(SEED)
    labels = _images()[0].tensors[1].numpy()
    floor, rest = np.split(rng.permutation(len(labels)), [FLOOR * num_partitions])
    parts = [[part] for part in np.split(floor, num_partitions)]
    for digit in range(10):
        mine = rest[labels[rest] == digit]
        cuts = np.cumsum(rng.dirichlet(np.full(num_partitions, alpha)))[:-1] * len(mine)
        for part, more in zip(parts, np.split(mine, cuts.round().astype(int)), strict=True):
            part.append(more)
    return [np.concatenate(part) for part in parts]
