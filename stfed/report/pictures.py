"""Small grey images, drawn of squares: as SVG, one path for each grey, and on a page of fpdf2. No picture file, sharp at any size."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import Any

from stfed.report.blocks import Picture, Pictures

_GREYS = 255
_SIDE_MM, _GAP_MM, _LINE_MM = 22.0, 5.0, 3.6

STYLE = """
figure.pictures { max-width: none; } .pics { display: flex; flex-wrap: wrap; gap: 1rem; margin: .5rem 0; }
.pics figure { margin: 0; width: 7rem; }
.pics svg { display: block; width: 7rem; height: 7rem; border: 1px solid #8884; }
.pics figcaption { font-size: .8rem; line-height: 1.35; margin-top: .4rem; }
.pics .alarm svg { outline: 3px solid #c25b5b; } .pics .none { fill: none; stroke: #8888; stroke-width: .1; stroke-dasharray: .4; }
"""


def pictures_html(block: Pictures) -> str:
    """All of them in a row that wraps, with the title above."""
    row = "".join(map(_picture, block.pictures))
    return f'<figure class="pictures"><figcaption>{escape(block.title)}</figcaption><div class="pics">{row}</div></figure>'


def _picture(picture: Picture) -> str:
    alarm = ' class="alarm"' if picture.alarm else ""
    return f"<figure{alarm}>{_svg(picture)}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _svg(picture: Picture) -> str:
    """Light is 0 and dark is 1 whatever the page's colours are: an image turned over is another image."""
    if not picture.rows:
        return '<svg viewBox="0 0 8 8" role="img" aria-label="nothing"><path class="none" d="M.1 .1h7.8v7.8h-7.8z"/></svg>'
    cells: dict[int, list[str]] = defaultdict(list)
    for y, row in enumerate(picture.rows):
        for x, value in enumerate(row):
            cells[round((1 - min(max(value, 0.0), 1.0)) * _GREYS)].append(f"M{x} {y}h1v1h-1z")
    paths = "".join(f'<path fill="rgb({grey},{grey},{grey})" d="{"".join(places)}"/>' for grey, places in sorted(cells.items()))
    size = f"0 0 {len(picture.rows[0])} {len(picture.rows)}"
    return f'<svg viewBox="{size}" shape-rendering="crispEdges" role="img" aria-label="{escape(picture.caption)}">{paths}</svg>'


def pictures_pdf(page: Any, block: Pictures) -> None:
    """The same on a page, from where it is; the page's font is set.

    Args:
        page: an `fpdf.FPDF`.
        block: the pictures.
    """
    across = max(1, int((page.epw + _GAP_MM) // (_SIDE_MM + _GAP_MM)))
    for begin in range(0, len(block.pictures), across):
        if page.will_page_break(_SIDE_MM + 5 * _LINE_MM):
            page.add_page()
        top, bottom = page.get_y() + 1, 0.0
        for at, picture in enumerate(block.pictures[begin : begin + across]):
            left = page.l_margin + at * (_SIDE_MM + _GAP_MM)
            _squares(page, picture, left, top)
            page.set_xy(left, top + _SIDE_MM + 1)
            page.multi_cell(_SIDE_MM + _GAP_MM - 1, _LINE_MM, picture.caption.encode("latin-1", "replace").decode("latin-1"), align="L")
            bottom = max(bottom, page.get_y())
        page.set_y(bottom + 2)


def _squares(page: Any, picture: Picture, left: float, top: float) -> None:
    side = _SIDE_MM / max(len(picture.rows), 1)
    for y, row in enumerate(picture.rows):
        for x, value in enumerate(row):
            page.set_fill_color(round((1 - min(max(value, 0.0), 1.0)) * _GREYS))
            page.rect(left + x * side, top + y * side, side, side, style="F")
    page.set_draw_color(194 if picture.alarm else 160, 91 if picture.alarm else 160, 91 if picture.alarm else 160)
    page.rect(left, top, _SIDE_MM, _SIDE_MM)
