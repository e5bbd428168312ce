"""Results as plots: what a section describes under `data["plots"]`, and all targets at one glance.

A plot is JSON: {"name", "title", "x", "y", "log": "x", "y", "xy" or "", "series": [{"name", "x": [...], "y": [...]}, ...]}. A series is
drawn as points, with "line": true as a line, with "bars": true as bars beside those of the other series, with "stack": true on top of them;
bars stand over words. "style" is Matplotlib's, of a line. Instead of "series", "panels": [{"title", "series"}, ...] makes several axes with
one legend, that of the first. Matplotlib comes with the extra `bench`; without it there are no plots and everything else works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.line import Line, Section, number

COLOURS = (
    "#2f6f9f",
    "#d98e4a",
    "#6a9f58",
    "#9a6fb0",
    "#9aa5b1",
    "#c25b5b",
    "#4fb0ae",
    "#8c6d46",
    "#d4b83e",
    "#5b6b7b",
    "#d9b6a3",
    "#20303c",
)
_MET, _MISSED = COLOURS[0], COLOURS[1]
_DPI = 110


def draw_all(sections: Sequence[tuple[str, Section]], folder: Path) -> Iterator[Path]:
    """Draws everything there is to draw; yields the files."""
    if find_spec("matplotlib") is None:
        return
    aimed = [(name, line) for name, section in sections for line in section.lines if line.target and line.measured and line.measured > 0]
    if aimed:
        yield draw_targets(aimed, folder / "targets.png")
    for name, section in sections:
        for plot in section.data.get("plots", ()):
            yield draw(plot, folder / f"{name}-{plot['name']}.png")


def draw(plot: Mapping[str, Any], path: Path) -> Path:
    """One plot, as PNG."""
    from matplotlib.figure import Figure

    if "panels" in plot:
        return _draw_panels(plot, path)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    _draw_on(axes, plot)
    figure.suptitle(plot["title"], fontsize=9)
    if len(plot["series"]) > 1:
        stacked = any(series.get("stack") for series in plot["series"])
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if stacked else {}
        axes.legend(fontsize=8, frameon=False, reverse=stacked, **place)
    figure.savefig(path, dpi=_DPI)
    return path


def _draw_panels(plot: Mapping[str, Any], path: Path) -> Path:
    """Axes beside each other, two in a row, with the legend below."""
    from matplotlib.figure import Figure

    panels = plot["panels"]
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(9, 3.2 * rows + 1), layout="constrained")
    grid = figure.subplots(rows, 2, sharex=plot.get("share", True), sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_on(axes, {**plot, **panel})
        axes.set_title(panel["title"], fontsize=9)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes in grid.flat:
        axes.label_outer()
    figure.suptitle(plot["title"], fontsize=9)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=_DPI)
    return path


def _draw_on(axes: Any, plot: Mapping[str, Any]) -> None:
    """All series of one plot, on its axes."""
    log = plot.get("log", "")
    beside = [one for one in plot["series"] if one.get("bars")]
    heights = dict[Any, float]()
    for series, colour in zip(plot["series"], COLOURS * len(plot["series"]), strict=False):
        x, y, label = series["x"], series["y"], series["name"]
        if series.get("stack"):
            axes.bar(x, y, 0.6, [heights.get(word, 0.0) for word in x], color=colour, label=label)
            heights |= {word: heights.get(word, 0.0) + value for word, value in zip(x, y, strict=True)}
        elif series.get("bars"):
            width = 0.8 / len(beside)
            shift = (beside.index(series) - (len(beside) - 1) / 2) * width
            bars = axes.bar([place + shift for place in range(len(x))], y, width, color=colour, label=label)
            axes.bar_label(bars, [number(value) for value in y], fontsize=7, padding=2)
            axes.set_xticks(range(len(x)), x, fontsize=8)
        else:
            style = series.get("style", "-" if series.get("line") else "o")
            axes.plot(x, y, style, color=colour, label=label, markersize=4)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    axes.set_xlabel(plot["x"])
    axes.set_ylabel(plot["y"])
    axes.spines[["top", "right"]].set_visible(False)


def draw_targets(lines: Sequence[tuple[str, Line]], path: Path) -> Path:
    """How many times better than its target each figure is; what lies left of the line at 1 missed it."""
    from matplotlib.figure import Figure

    def ratio(line: Line) -> float:
        assert line.measured is not None
        assert line.target is not None
        return line.target / line.measured if line.better == "less" else line.measured / line.target

    figure = Figure(figsize=(11, 1.2 + 0.26 * len(lines)), layout="constrained")
    axes = figure.subplots()
    ratios = [ratio(line) for _, line in lines]
    colours = [_MET if line.met else _MISSED for _, line in lines]
    axes.barh(range(len(lines)), [value - 1 for value in ratios], left=1, color=colours)
    for place, value in enumerate(ratios):
        axes.text(max(value, 1) * 1.05, place, f"{number(value)} x", va="center", fontsize=7)
    axes.set_yticks(range(len(lines)), [f"{name}: {line.name}" for name, line in lines], fontsize=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times better than the target")
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)
    return path
