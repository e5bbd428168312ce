"""hospitals: the models, and training that gives the same result every time.

Everything random is a function of (seed, round, party): the order of the batches here, who drops out in `dropped`. Torch runs on one
thread: the models are so small that more would only cost time, and the order of its sums stays fixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from examples.hospitals.data import Samples
from stfed.flower import Shared

torch.set_num_threads(1)


class Mlp(nn.Module):
    """Two layers for tables."""

    def __init__(self, features: int, classes: int, hidden: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n, classes)."""
        logits: torch.Tensor = self.out(functional.relu(self.hidden(x)))
        return logits


class Cnn(nn.Module):
    """Two convolutions and a linear layer for small grey images, side by side pixels."""

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.out = nn.Linear(32 * (side // 4) ** 2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n, classes)."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        logits: torch.Tensor = self.out(x.flatten(1))
        return logits


def make_model(dataset: str, seed: int) -> nn.Module:
    """The model for this data set with the initial weights of this seed.

    Raises:
        ValueError: there is no such data set here.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if dataset == "breast-cancer":
            return Mlp(features=30, classes=2)
        if dataset in ("digits", "mnist"):
            return Cnn(side=8 if dataset == "digits" else 28, classes=10)
    raise ValueError(f"no data set {dataset!r}: choose breast-cancer, digits or mnist")


def shared(config: Mapping[str, bool | float | int | str]) -> Shared | None:
    """The tensors that leave a hospital, by the patterns of `shared-tensors`; None if all do."""
    patterns = str(config.get("shared-tensors", "")).split()
    return Shared(*patterns) if patterns else None


def train(
    model: nn.Module,
    samples: Samples,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    server_round: int,
    party: int,
    proximal_mu: float = 0.0,
) -> float:
    """Trains in place with SGD and momentum 0.9 and returns the mean loss of the last epoch, without the proximal term.

    `proximal_mu` is FedProx's: mu / 2 times the squared distance from the model that came is part of the objective.
    """
    order = torch.Generator().manual_seed(_number("batches", seed, server_round, party))
    came = [parameter.detach().clone() for parameter in model.parameters()] if proximal_mu else []
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model.train()
    mean = 0.0
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(samples.y), generator=order).split(batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(samples.x[batch]), samples.y[batch])
            distance = sum(((own - its) ** 2).sum() for own, its in zip(model.parameters(), came, strict=False))
            (loss + proximal_mu / 2 * distance).backward()
            optimizer.step()
            total += loss.item() * len(batch)
        mean = total / len(samples.y)
    return mean


@torch.no_grad()
def evaluate(model: nn.Module, samples: Samples) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    logits = model(samples.x)
    correct = (logits.argmax(1) == samples.y).float().mean()
    return functional.cross_entropy(logits, samples.y).item(), correct.item()


def dropped(seed: int, server_round: int, num_parties: int, count: int) -> frozenset[int]:
    """Which parties are offline in this round, by the script of the demo."""
    return frozenset(sorted(range(num_parties), key=lambda party: _number("drop", seed, server_round, party))[:count])


def _number(purpose: str, *parts: int) -> int:
    """63 bits that depend on the purpose and on all parts, the same for every version of every library."""
    text = "/".join([purpose, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
