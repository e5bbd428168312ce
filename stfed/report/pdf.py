"""A report as a PDF on A4, by fpdf2, which comes with the extra `report`. The same blocks as the HTML page, in the same order."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from stfed.errors import LocalError
from stfed.report.blocks import Block, Chart, Facts, Pictures, Report, Table, Text, Warn
from stfed.report.charts import INSTALL, draw
from stfed.report.pictures import pictures_pdf

_INK, _SOFT, _LINE = (29, 39, 51), (91, 107, 123), (216, 222, 229)
_BAD, _ALARM, _PAPER = (168, 50, 44), (251, 236, 235), (255, 255, 255)
_MARGIN_MM, _NAME_MM, _LEAST_MM, _CHART_MM = 18.0, 32.0, 40.0, 95.0
_FONT = "helvetica"
_BOLD, _CELL_MM = 1.08, 5.0
"""How much wider the bold letters of a header are, and what a cell has around its text."""


def to_pdf(report: Report) -> bytes:
    """The file.

    Raises:
        LocalError: fpdf2 or Matplotlib is not installed.
    """
    try:
        from fpdf import FPDF
    except ImportError:
        raise LocalError("a PDF needs fpdf2, which is not installed", hint=INSTALL) from None

    class Page(FPDF):
        """With a number at the foot."""

        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(_FONT, size=8)
            self.set_text_color(*_SOFT)
            self.cell(0, 5, f"{_latin(report.title)}, page {self.page_no()} of {{nb}}", align="C")

    page = Page(format="A4")
    page.set_title(_latin(report.title))
    page.set_margin(_MARGIN_MM)
    page.set_auto_page_break(True, margin=_MARGIN_MM)
    page.add_page()
    _write(page, report.title, size=20, style="B")
    page.ln(3)
    _facts(page, Facts(report.summary))
    for section in report.sections:
        if page.will_page_break(_CHART_MM if any(isinstance(block, Chart) for block in section.blocks[:2]) else _LEAST_MM):
            page.add_page()
        page.ln(4)
        _write(page, section.title, size=14, style="B")
        page.ln(1)
        for block in section.blocks:
            _block(page, block)
    return bytes(page.output())


def _block(page: Any, block: Block) -> None:
    match block:
        case Text(text):
            _write(page, text)
            page.ln(1.5)
        case Warn(text):
            _warn(page, text)
        case Facts():
            _facts(page, block)
        case Table():
            _table(page, block)
        case Pictures(title):
            _write(page, title, size=9, colour=_SOFT)
            pictures_pdf(page, block)
        case Chart(title):
            picture, width = BytesIO(draw(block, "png", ink="#1d2733")), page.epw * 0.75
            if page.will_page_break(width * 0.5):
                page.add_page()
            _write(page, title, size=9, colour=_SOFT)
            page.image(picture, w=width)
            page.ln(2)


def _write(page: Any, text: str, *, size: float = 10, style: str = "", colour: tuple[int, int, int] = _INK) -> None:
    page.set_font(_FONT, style=style, size=size)
    page.set_text_color(*colour)
    page.multi_cell(0, size * 0.47, _latin(text), new_x="LMARGIN", new_y="NEXT", align="L", wrapmode="WORD")


def _warn(page: Any, text: str) -> None:
    page.set_font(_FONT, style="B", size=10)
    page.set_text_color(*_BAD)
    page.set_draw_color(*_BAD)
    page.set_fill_color(*_ALARM)
    page.multi_cell(0, 5.2, _latin(text), border=1, fill=True, padding=2.5, new_x="LMARGIN", new_y="NEXT", align="L", wrapmode="WORD")
    page.set_fill_color(*_PAPER)
    page.ln(2)


def _facts(page: Any, facts: Facts) -> None:
    for fact in facts.facts:
        if page.will_page_break(12):
            page.add_page()
        top = page.get_y()
        page.set_font(_FONT, size=10)
        page.set_text_color(*_SOFT)
        page.multi_cell(_NAME_MM, 4.7, _latin(fact.name), new_x="LMARGIN", new_y="NEXT", align="L")
        after = page.get_y()
        page.set_xy(page.l_margin + _NAME_MM, top)
        for text, size, colour in ((fact.value, 10, _INK), (fact.meaning, 8.5, _SOFT)):
            if text:
                page.set_x(page.l_margin + _NAME_MM)
                page.set_font(_FONT, size=size)
                page.set_text_color(*colour)
                wrap = "WORD" if " " in text else "CHAR"
                page.multi_cell(0, size * 0.47, _latin(text), new_x="LMARGIN", new_y="NEXT", align="L", wrapmode=wrap)
        page.set_y(max(after, page.get_y()) + 1.2)


def _table(page: Any, table: Table) -> None:
    """As wide as its texts need, or as the page, in proportion."""
    page.set_font(_FONT, size=8)
    page.set_text_color(*_INK)
    page.set_draw_color(*_LINE)
    rows = [[_latin(text) for text in row] for row in (table.header, *table.rows)]
    needed = [max(page.get_string_width(row[column]) for row in rows) * _BOLD + _CELL_MM for column in range(len(table.header))]
    room = page.epw - sum(min(width, page.epw / len(needed)) for width in needed)
    widths = [min(width, page.epw / len(needed) + max(0.0, room)) for width in needed]
    aligned = ["RIGHT" if right else "LEFT" for right in table.numeric()]
    style = {"borders_layout": "HORIZONTAL_LINES", "line_height": 4.2, "padding": (0.6, 1.4), "wrapmode": "WORD", "text_align": aligned}
    with page.table(col_widths=widths, width=min(page.epw, sum(widths)), align="LEFT", **style) as drawn:
        for row in rows:
            cells = drawn.row()
            for text, align in zip(row, aligned, strict=True):
                cells.cell(text, align=align)
    page.ln(2)


def _latin(text: str) -> str:
    """The fonts that every PDF reader has know Latin letters only."""
    return text.encode("latin-1", "replace").decode("latin-1")
