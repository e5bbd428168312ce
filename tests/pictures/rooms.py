"""The rooms of stfed, from outside to inside, as the import contract in pyproject.toml has them, each with the first sentence about it."""

from __future__ import annotations

import importlib
import re
import textwrap
import tomllib
from pathlib import Path

from benchmarks.svg import ACCENTS, Picture

ROOT = Path(__file__).parents[2]
_WIDTH, _EDGE, _GAP, _LINE, _IN_A_ROW = 700.0, 8.0, 8.0, 14.0, 3
_LETTER = 5.9
"""Pixels that a letter of 11 pixels takes on average, on the safe side."""
_COLOURS = {
    **dict.fromkeys(("cli", "demo", "testing", "report", "library"), ACCENTS[4]),
    **dict.fromkeys(("flower", "keyserver", "bench"), ACCENTS[0]),
    **dict.fromkeys(("encrypted", "sealed", "audit"), ACCENTS[2]),
    **dict.fromkeys(("secagg", "dp", "encoding"), ACCENTS[1]),
    **dict.fromkeys(("keys", "crypto"), ACCENTS[3]),
}
"""Grey is for people, blue for moving messages, orange for sums, green for what is kept, purple for keys."""


def layers() -> list[list[str]]:
    """The contract: rows of module names, the outermost first. One in brackets may be missing where its extra is."""
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [[name.strip().strip("()") for name in re.split(r"[|:]", row)] for row in contract["layers"]]


def sentence(module: str) -> str:
    """The first one that a module says about itself."""
    text = " ".join((importlib.import_module(module).__doc__ or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\.) ", text.replace("`", ""))[0].rstrip(".")


def picture() -> Picture:
    """A row for each layer; imports go down only, and never to the side within a row."""
    rows = [row[at : at + _IN_A_ROW] for row in layers() for at in range(0, len(row), _IN_A_ROW)]
    height = sum(_height(row) + _GAP for row in rows) + _EDGE
    told = "; ".join(" beside ".join(row) for row in layers())
    found = Picture("rooms", _WIDTH, height, "The rooms of stfed, from outside to inside", f"Each imports only what comes after it: {told}")
    y = _EDGE
    for row in rows:
        for at, module in enumerate(row):
            width = _box_width(row)
            x = _EDGE + at * (width + _GAP)
            name = module.removeprefix("stfed.")
            colour = _COLOURS.get(name)
            found.box(x, y, width, _height(row), colour=colour)
            found.text(x + 10, y + 18, name, size=13.5, bold=True, anchor="start", colour=colour)
            for line, words in enumerate(_lines(module, width)):
                found.text(x + 10, y + 35 + _LINE * line, words, size=11, anchor="start", faint=True)
        y += _height(row) + _GAP
    return found


def _box_width(row: list[str]) -> float:
    return (_WIDTH - 2 * _EDGE - _GAP * (len(row) - 1)) / len(row)


def _lines(module: str, width: float) -> list[str]:
    return textwrap.wrap(sentence(module), int((width - 20) / _LETTER))


def _height(row: list[str]) -> float:
    return 29 + _LINE * max(len(_lines(module, _box_width(row))) for module in row)
