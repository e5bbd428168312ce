"""Charts of the book: lines over logarithmic axes, and bars, drawn with `benchmarks.svg`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.line import number
from benchmarks.svg import ACCENTS, Picture

WIDTH = 700.0
_TOP, _BOTTOM, _LEFT, _GAP = 46.0, 68.0, 64.0, 34.0


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name, its points, and the place of its colour in `ACCENTS`; one that is computed is dashed."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: int
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Axes with a title."""

    title: str
    series: tuple[Series, ...]


def lines(name: str, title: str, x_label: str, y_label: str, panels: Sequence[Panel], height: float = 346) -> Picture:
    """Panels beside each other, with the same range of y, and one legend below."""
    told = "; ".join(
        f"{panel.title}, {one.name}: " + ", ".join(f"{number(x)} to {number(y)}" for x, y in one.points)
        for panel in panels
        for one in panel.series
    )
    picture = Picture(name, WIDTH, height, title, f"{y_label} over {x_label}. {told}")
    heights = [y for panel in panels for one in panel.series for _, y in one.points]
    low, high = math.floor(math.log10(min(heights))), math.ceil(math.log10(max(heights)))
    wide = (WIDTH - _LEFT - 12 - _GAP * (len(panels) - 1)) / len(panels)
    for at, panel in enumerate(panels):
        _panel(picture, panel, _LEFT + at * (wide + _GAP), wide, height - _TOP - _BOTTOM, (low, high), labelled=at == 0)
        picture.text(_LEFT + at * (wide + _GAP) + wide / 2, height - _BOTTOM + 34, x_label, size=11.5, faint=True)
    picture.text(12, 16, y_label, size=11.5, anchor="start", faint=True)
    _legend(picture, list({one.name: one for panel in panels for one in panel.series}.values()), height - 6)
    return picture


def _panel(picture: Picture, panel: Panel, left: float, wide: float, tall: float, decades: tuple[int, int], *, labelled: bool) -> None:
    across = sorted({x for one in panel.series for x, _ in one.points})
    first, last = math.log10(across[0]), math.log10(across[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - first) / (last - first)
        return left + 16 + along * (wide - 32), _TOP + tall * (decades[1] - math.log10(y)) / (decades[1] - decades[0])

    picture.text(left + wide / 2, _TOP - 12, panel.title, size=13, bold=True)
    for decade in range(decades[0], decades[1] + 1):
        _, y = place(across[0], 10.0**decade)
        picture.bar(left, y - 0.5, wide, 1, "currentColor", opacity=0.5 if decade == decades[0] else 0.15)
        if labelled:
            picture.text(left - 8, y + 4, seconds(10.0**decade), size=11, anchor="end")
    for x in across:
        centre, _ = place(x, 10.0 ** decades[0])
        picture.line(centre, _TOP + tall, centre, _TOP + tall + 4)
        picture.text(centre, _TOP + tall + 17, _count(x), size=11)
    for one in panel.series:
        points = [place(*point) for point in one.points]
        picture.curve(points, colour=ACCENTS[one.colour], dashed=one.dashed)
        for x, y in points:
            picture.dot(x, y, 3.2, ACCENTS[one.colour])


def _count(value: float) -> str:
    """A number on an axis."""
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"


def _legend(picture: Picture, series: Sequence[Series], y: float) -> None:
    wide = (WIDTH - 24) / len(series)
    for at, one in enumerate(series):
        x = 12 + at * wide
        picture.curve([(x, y - 4), (x + 22, y - 4)], colour=ACCENTS[one.colour], dashed=one.dashed)
        picture.text(x + 28, y, one.name, size=11.5, anchor="start")


def seconds(value: float) -> str:
    """A time as people write it, for axes and tables."""
    if value >= 1:
        return f"{number(value)} s"
    return f"{number(value * 1e3)} ms" if value >= 1e-3 else f"{number(value * 1e6)} µs"


def bars(name: str, title: str, unit: str, values: Mapping[str, float], own: Sequence[str]) -> Picture:
    """A bar for each value, with the value at its end; those named in `own` in the first colour."""
    told = "; ".join(f"{label}: {number(value)} {unit}" for label, value in values.items())
    picture = Picture(name, WIDTH, 44 + 32 * len(values), title, told)
    picture.text(12, 18, f"{title}, {unit}", size=13, bold=True, anchor="start")
    scale = (WIDTH - 250 - 76) / max(values.values())
    for at, (label, value) in enumerate(values.items()):
        y = 34 + 32 * at
        picture.text(240, y + 15, label, anchor="end")
        picture.bar(250, y, max(2.0, value * scale), 20, ACCENTS[0 if label in own else 4])
        picture.text(256 + value * scale, y + 15, number(value), anchor="start")
    return picture
