"""Charts as pictures, by Matplotlib, which comes with the extra `report`."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from stfed.errors import LocalError
from stfed.report.blocks import Chart

INSTALL = "pip install 'stfed[report]'"
_COLOURS = ("#3b86c0", "#d98e4a", "#6a9f58", "#9a6fb0", "#9aa5b1", "#c25b5b", "#4fb0ae", "#8c6d46")
_INCHES = (5.6, 2.9)
_SPAN = 1e-6
"""The least height of a chart, as a part of its values. A secure sum rounds: an unchanged result differs by some 10^-9 between rounds."""
_BARS = 120
"""More cannot be told apart, and each is a shape of its own in the file."""
_INK = "#5b6b7b"
"""Of axes and letters: to be read on white and on black."""


def draw(chart: Chart, kind: str, *, ink: str = _INK) -> bytes:
    """A chart as a file.

    Args:
        chart: what is drawn.
        kind: "svg" or "png".
        ink: colour of everything that is no data.

    Raises:
        LocalError: Matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise LocalError("charts need Matplotlib, which is not installed", hint=INSTALL) from None
    inked = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), ink)
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "stfed", "font.size": 9, **inked}
    with rc_context(settings):
        figure = Figure(figsize=_INCHES, layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.subplots()
        axes.patch.set_alpha(0.0)
        _plot(axes, chart)
        file = BytesIO()
        figure.savefig(file, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()


def _plot(axes: Any, chart: Chart) -> None:
    below: dict[int, float] = {}
    for colour, (name, points) in zip(_COLOURS * (1 + len(chart.series) // len(_COLOURS)), chart.series.items(), strict=False):
        x, y = list(points), list(points.values())
        if not any(y) and chart.stacked:
            continue
        if chart.stacked:
            base = [below.get(one, 0.0) for one in x]
            below |= {one: below.get(one, 0.0) + value for one, value in points.items()}
            if len(x) <= _BARS:
                axes.bar(x, y, bottom=base, label=name, color=colour, width=0.8)
            else:
                axes.fill_between(x, base, [below[one] for one in x], label=name, color=colour, step="mid", linewidth=0)
        else:
            line = (0, (3, 2.5)) if name in chart.dashed else "-"
            axes.plot(x, y, label=name, color=colour, marker="o", markersize=3 if len(x) < 60 else 0, linewidth=1.6, linestyle=line)
    if chart.limit is not None:
        axes.axhline(chart.limit, color=_COLOURS[5], linestyle="--", linewidth=1, label="limit")
    low, high = axes.get_ylim()
    if not chart.stacked and high - low < (least := _SPAN * max(abs(low), abs(high))):  # what is only rounding is drawn as the line it is
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.get_legend_handles_labels()[0] and (len(chart.series) > 1 or chart.limit is not None):
        axes.figure.legend(frameon=False, loc="outside upper left", ncols=6 if chart.stacked else 3, fontsize=8)
