"""fieldnotes: low-rank adapters (LoRA: Hu et al., ICLR 2022) on the linear layers of a frozen model, with the names of Hugging Face's peft.

A frozen weight W becomes W + s B A, with B of shape (out, rank) and A of shape (rank, in). B begins as zeros, so an adapted model begins as
the model that it adapts, exactly.

Parties average tensors, and the mean of the B times the mean of the A is not the mean of the products. With A frozen, at values that all
of them have, it is: mean(B) A = mean(B A). That is FFA-LoRA (Sun, Li, Li, Ding, "Improving LoRA in Privacy-preserving Federated Learning",
ICLR 2024), and what `adapt` does unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn


class LoraLinear(nn.Module):
    """A frozen linear layer and its change of rank `rank`."""

    def __init__(self, base_layer: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base_layer, self.scale = base_layer, alpha / rank
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the frozen layer says, and the change."""
        return self.base_layer(x) + self.scale * self.lora_B(self.lora_A(x))

    def change(self) -> torch.Tensor:
        """What is added to the frozen weight, in its shape."""
        return self.scale * self.lora_B.weight @ self.lora_A.weight

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """An ordinary linear layer that does the same."""
        self.base_layer.weight += self.change()
        return self.base_layer


def adapt(model: nn.Module, rank: int = 8, alpha: float = 16.0, *, train_a: bool = False) -> nn.Module:
    """Freezes the model and puts an adapter on every linear layer in its blocks; only B can be trained then, with `train_a` A too.

    A is drawn from torch's generator, so seed it, or load A with the rest of the model: parties need the same.
    """
    model.requires_grad_(False)
    for parent, name, layer in list(_linear(model)):
        adapter = LoraLinear(layer, rank, alpha)
        adapter.lora_A.requires_grad_(train_a)
        setattr(parent, name, adapter)
    return model


def merge(model: nn.Module) -> nn.Module:
    """Adds every adapter to the weight that it adapts and takes it away: the model has its old shape and names again."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LoraLinear):
                setattr(parent, name, layer.merged())
    return model


def _linear(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """The linear layers of the blocks, each with its parent and its name there. Embeddings and the head stay as they are."""
    for parent in model.get_submodule("blocks").modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear):
                yield parent, name, layer
