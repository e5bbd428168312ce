"""Pictures of the book as SVG: shapes and text at coordinates, in the colour of the text around them.

Standing alone (as an image of a Markdown page) a picture follows the system's light or dark mode; inside of an HTML page, where
`docs/book.py` puts it, it takes the page's own colour. So nothing here names black or white: shapes are `currentColor`, more or less of it,
and the colours of `ACCENTS`, which are readable on both. Output is the same bytes for the same calls, so a test can compare it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

ACCENTS = ("#3f87bf", "#cf8136", "#5d9c4b", "#9b6cb8", "#8794a1", "#c85a5a")
"""At least 3 to 1 in contrast, on white and on the book's dark background."""
FONT = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_ALONE = ":root{color:#1f2933;background:#fff}@media(prefers-color-scheme:dark){:root{color:#d7dde4;background:#1e2129}}"
"""`:root` is the picture only where it stands alone."""

Anchor = Literal["start", "middle", "end"]


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{round(value, 1):g}"


class Picture:
    """A picture of this size in pixels, with a title and a description for those who do not see it.

    Args:
        name: a word that no other picture of a page has: it is in the ids of this one.
    """

    def __init__(self, name: str, width: float, height: float, title: str, description: str) -> None:
        self.name, self.width, self.height = name, width, height
        self._title, self._description = title, description
        self._parts: list[str] = []
        self._heads: dict[str, str] = {}

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12,
        anchor: Anchor = "middle",
        bold: bool = False,
        italic: bool = False,
        faint: bool = False,
        colour: str | None = None,
    ) -> None:
        """A line of text with its baseline at y."""
        style = [f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}" text-anchor="{anchor}"']
        style += ['font-weight="600"'] * bold + ['font-style="italic"'] * italic + ['opacity="0.75"'] * faint
        self._parts.append(f'<text {" ".join(style)} fill="{colour or "currentColor"}">{escape(words)}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, *, colour: str | None = None, fill: float = 0.06, line: float = 1.4
    ) -> None:
        """A rectangle with round corners and its top left corner at (x, y); `fill` is how much of its colour is inside."""
        paint = colour or "currentColor"
        place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" rx="6"'
        self._parts.append(f'<rect {place} fill="{paint}" fill-opacity="{fill:g}" stroke="{paint}" stroke-width="{line:g}"/>')

    def bar(self, x: float, y: float, width: float, height: float, colour: str, *, opacity: float = 1) -> None:
        """A filled rectangle without an outline."""
        place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self._parts.append(f'<rect {place} fill="{colour}" fill-opacity="{opacity:g}"/>')

    def dot(self, x: float, y: float, radius: float, colour: str | None = None) -> None:
        """A filled circle."""
        self._parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{colour or "currentColor"}"/>')

    def path(
        self, data: str, *, colour: str | None = None, width: float = 1.4, head: bool = False, dashed: bool = False, faint: bool = False
    ) -> None:
        """A path in SVG's own words (`M 0 0 L 10 10`), with an arrow's head at its end if wanted."""
        paint = colour or "currentColor"
        style = ['stroke-dasharray="4 4"'] * dashed + ['stroke-opacity="0.45"'] * faint
        style += [f'marker-end="url(#{self._head(paint)})"'] * head
        self._parts.append(f'<path d="{data}" fill="none" stroke="{paint}" stroke-width="{width:g}" {" ".join(style)}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, *, colour: str | None = None, head: bool = False, **style: bool) -> None:
        """A straight line."""
        self.path(f"M {number(x1)} {number(y1)} L {number(x2)} {number(y2)}", colour=colour, head=head, **style)

    def curve(self, points: Sequence[tuple[float, float]], *, colour: str, dashed: bool = False) -> None:
        """Points, joined by straight lines."""
        joined = " L ".join(f"{number(x)} {number(y)}" for x, y in points)
        self.path(f"M {joined}", colour=colour, width=2, dashed=dashed)

    def _head(self, paint: str) -> str:
        return self._heads.setdefault(paint, f"{self.name}-head-{len(self._heads)}")

    def render(self) -> str:
        """The file."""
        markers = "".join(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M 0 1 L 9 5 L 0 9 z" fill="{paint}"/></marker>'
            for paint, name in self._heads.items()
        )
        size = f'viewBox="0 0 {number(self.width)} {number(self.height)}" width="{number(self.width)}" height="{number(self.height)}"'
        told = f'role="img" aria-labelledby="{self.name}-title {self.name}-desc"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {told} font-family="{FONT}">',
            f'<title id="{self.name}-title">{escape(self._title)}</title>',
            f'<desc id="{self.name}-desc">{escape(self._description)}</desc>',
            f"<style>{_ALONE}</style>",
            f"<defs>{markers}</defs>" if markers else "",
            *self._parts,
            "</svg>",
        ]
        return "\n".join(line for line in lines if line) + "\n"
