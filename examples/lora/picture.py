"""lora: bits per byte by round, federated beside alone and pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

_COLOURS = {"each alone": "#cc3311", "federated, over secure sums": "#4477aa", "all documents in one place": "#228833"}


def draw(curves: Mapping[str, Sequence[float]], path: Path) -> Path | None:
    """Draws the curves, each of which begins with the base model; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(range(len(curve)), curve, marker="o", markersize=3, color=_COLOURS[name], label=name)
    axes.set(xlabel="round (0: the base model)", ylabel="bits per byte, own held-out documents")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return path
