"""lora: the same adapters trained otherwise: by each laboratory alone, and on all documents in one place, which only a demo can have.

As many rounds and steps as in the federated run, at the same rates, from the same base. A step of the pooled training takes a batch from
every laboratory's documents, so it sees as much text in a step as all laboratories together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.lora.fieldnotes.base import load_base
from examples.lora.fieldnotes.model import Transformer
from examples.lora.fieldnotes.task import bits_per_byte, fit, windows_of
from examples.lora.fieldnotes.text import FIELDS, documents


def alone(base: Path, laboratory: int, config: Mapping[str, Any]) -> tuple[list[float], float]:
    """Bits per byte of a laboratory's own held-out documents after each round, and in the end those of the others' documents."""
    curve = []
    for model in _trained(base, [laboratory], config, seed=1000 * laboratory):
        curve.append(bits_per_byte(model, documents(laboratory)[1]))
    elsewhere = by_laboratory(model)
    del elsewhere[laboratory]
    return curve, over_all(elsewhere, but=laboratory)


def pooled(base: Path, config: Mapping[str, Any]) -> list[list[float]]:
    """Bits per byte of every laboratory's held-out documents after each round, of one adapter trained on all that they have."""
    everywhere = range(len(FIELDS))
    return [by_laboratory(model) for model in _trained(base, everywhere, config, seed=1000 * len(FIELDS))]


def by_laboratory(model: Transformer) -> list[float]:
    """Bits per byte of every laboratory's held-out documents."""
    return [bits_per_byte(model, documents(laboratory)[1]) for laboratory in range(len(FIELDS))]


def over_all(bits: Sequence[float], *, but: int | None = None) -> float:
    """The mean over laboratories, each as often as it has characters held out, as the secure mean has it."""
    weights = [windows_of(documents(laboratory)[1]) for laboratory in range(len(FIELDS)) if laboratory != but]
    return sum(weight * value for weight, value in zip(weights, bits, strict=True)) / sum(weights)


def _trained(base: Path, laboratories: Sequence[int], config: Mapping[str, Any], seed: int) -> Iterator[Transformer]:
    """The model after each round."""
    model, rounds = load_base(base), config["num-server-rounds"]
    texts = [documents(laboratory)[0] for laboratory in laboratories]
    for done in range(rounds):
        rate = config["learning-rate"] * (1 - done / rounds)
        fit(model, texts, [rate] * config["local-steps"], config["batch-size"], seed + done)
        yield model
