"""fieldnotes: the model that everybody builds, its training, and how well it predicts text."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch.nn.functional import cross_entropy

from stfed.flower import Shared

from .lora import adapt
from .model import Transformer
from .text import ALPHABET, decode, encode

CONTEXT, WIDTH, HEADS, BLOCKS, RANK = 64, 64, 4, 3, 8

# Matrices this small gain nothing from a second thread, and laboratories work side by side, each on a processor.
torch.set_num_threads(1)

SHARED = Shared("*.lora_B.*")  # what leaves a laboratory, under masks; nothing else does


def create_model() -> Transformer:
    """The model without adapters, as a base model begins."""
    return Transformer(len(ALPHABET), CONTEXT, WIDTH, HEADS, BLOCKS)


def create_adapted() -> Transformer:
    """The model with adapters on it, all but B frozen."""
    return adapt(create_model(), RANK)


def fit(model: torch.nn.Module, texts: Sequence[torch.Tensor], rates: Sequence[float], batch_size: int, seed: int) -> float:
    """Trains what is not frozen, with AdamW, and returns the mean loss in nats a character.

    Args:
        model: is changed in place.
        texts: every step takes `batch_size` windows of `CONTEXT` characters from each of them.
        rates: the learning rate of each step, and so how many steps there are.
        batch_size: windows.
        seed: of the windows.
    """
    generator = torch.Generator().manual_seed(seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98))
    model.train()
    total = 0.0
    for optimizer.param_groups[0]["lr"] in rates:
        windows = torch.cat([_drawn(text, batch_size, generator) for text in texts])
        optimizer.zero_grad()
        loss = _loss(model, windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        total += loss.item()
    return total / len(rates)


@torch.no_grad()
def bits_per_byte(model: torch.nn.Module, text: torch.Tensor) -> float:
    """What a character of the text costs under the model, in bits; less is better. A character is a byte here.

    Every window begins anew, so its first characters are predicted from little. What is left over behind the last window is left out.
    """
    model.eval()
    windows = text[: windows_of(text) * CONTEXT + 1].unfold(0, CONTEXT + 1, CONTEXT)
    return sum(_loss(model, some).item() * len(some) for some in windows.split(256)) / len(windows) / log(2)


def windows_of(text: torch.Tensor) -> int:
    """How many windows a text has: what a laboratory weighs in the mean."""
    return (len(text) - 1) // CONTEXT


@torch.no_grad()
def continued(model: torch.nn.Module, prompt: str, characters: int, temperature: float = 0.5, seed: int = 3) -> str:
    """The prompt and what the model writes after it."""
    model.eval()
    generator, text = torch.Generator().manual_seed(seed), encode(prompt)
    for _ in range(characters):
        logits = model(text[None, -CONTEXT:])[0, -1]
        text = torch.cat([text, torch.multinomial(torch.softmax(logits / temperature, 0), 1, generator=generator)])
    return decode(text)


def _drawn(text: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Windows from anywhere in a text: (count, CONTEXT + 1)."""
    starts = torch.randint(len(text) - CONTEXT, (count, 1), generator=generator)
    return text[starts + torch.arange(CONTEXT + 1)]


def _loss(model: torch.nn.Module, windows: torch.Tensor) -> torch.Tensor:
    """Mean over all characters but each window's first."""
    return cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
