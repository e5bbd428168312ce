"""What a report is made of, whatever it is written as: sections of texts, facts, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

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


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over rounds, or bars on top of each other.

    Attributes:
        title: what it shows.
        x: name of the axis, with the unit; likewise `y`.
        series: points by name.
        stacked: bars on top of each other; every series then has the same x.
        limit: a value that is not to be passed, drawn across.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, Mapping[int, float]]
    stacked: bool = False
    limit: float | None = None


Block: TypeAlias = Text | Facts | Table | Chart


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
