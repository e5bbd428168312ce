"""The speeds of saving and loading as bars, for people who look before they read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.files.contender import Kind
from benchmarks.files.limits import Transfer
from benchmarks.files.timing import LOAD, SAVE, Measured

_COLOURS = {Kind.PLAIN: "#9aa5b1", Kind.PEER: "#d98e4a", Kind.OURS: "#2f6f9f"}


def draw(measured: Sequence[Measured], size_bytes: int, title: str, path: Path) -> None:
    """Saves a picture in the format that the name's suffix says. The file system's own speed is a line, the other limits are left out."""
    from matplotlib.figure import Figure

    shown = [one for one in measured if one.kind is not Kind.LIMIT and one.seconds.get(SAVE)]
    transfer = next((one for one in measured if one.name == Transfer.name), None)
    figure = Figure(figsize=(10, 1.6 + 0.34 * len(shown)), layout="constrained")
    for what, axes in zip((SAVE, LOAD), figure.subplots(1, 2, sharey=True), strict=True):
        speeds = [size_bytes / 2**30 / best if (best := one.best(what)) else 0.0 for one in shown]
        bars = axes.barh([one.name for one in shown], speeds, color=[_COLOURS[one.kind] for one in shown])
        axes.bar_label(bars, [f"{speed:.2f}" if speed else "failed" for speed in speeds], padding=3, fontsize=8)
        if transfer is not None and (best := transfer.best(what)):
            axes.axvline(size_bytes / 2**30 / best, color="black", linestyle=":", linewidth=1)
        axes.set_title(f"{what}; dotted: the file system alone" if transfer is not None else what, fontsize=10)
        axes.set_xlabel("GiB/s")
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)
