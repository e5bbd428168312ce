"""What a report is made of, whatever it is written as: sections of texts, facts, tables and charts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Warn:
    """A paragraph in a red box: what nobody may read past."""

    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One number or name, and what it means, in words that need no cryptographer."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Some of them, one below the other."""

    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; columns of numbers are set to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def numeric(self) -> list[bool]:
        """Whether a column holds numbers, by column."""
        cells = [[row[column] for row in self.rows if row[column]] for column in range(len(self.header))]
        return [bool(column) and all(map(is_number, column)) for column in cells]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over rounds, or bars on top of each other.

    Attributes:
        title: what it shows.
        x: name of the axis, with the unit; likewise `y`.
        series: points by name.
        stacked: bars on top of each other; every series then has the same x.
        limit: a value that is not to be passed, drawn across.
        dashed: series to compare with: dashes over whatever they lie on.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, Mapping[int, float]]
    stacked: bool = False
    limit: float | None = None
    dashed: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A small grey image.

    Attributes:
        caption: below it.
        rows: from 0, the page's white, to 1, black; none where there is no picture.
        alarm: whether it is one that nobody should see.
    """

    caption: str
    rows: Sequence[Sequence[float]] = ()
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Pictures:
    """Some of them beside each other."""

    title: str
    pictures: Sequence[Picture]


Block: TypeAlias = Text | Warn | Facts | Table | Chart | Pictures


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole.

    Attributes:
        title: of the page.
        summary: the facts that somebody reads who reads nothing else.
        sections: the rest.
    """

    title: str
    summary: Sequence[Fact]
    sections: Sequence[Section]

    def _repr_html_(self) -> str:
        """For notebooks."""
        from stfed.report.html import to_inline_html

        return to_inline_html(self)


_NUMBER = frozenset("0123456789.,-+e% ")
_UNITS = (" s", " ms", " kB", " MB", " GB", " B")


def is_number(text: str) -> bool:
    """Whether a text is a number, with its unit perhaps."""
    for unit in _UNITS:
        text = text.removesuffix(unit)
    return bool(text) and set(text) <= _NUMBER
