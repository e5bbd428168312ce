"""deployment: what was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table at the end.

    Attributes:
        when: the moment in the play.
        what: was tried.
        result: in a few words.
        held: whether that is as it has to be.
    """

    when: str
    what: str
    result: str
    held: bool


def table(rows: Iterable[Row]) -> Table:
    """All of them, for people."""
    result = Table(title="what was tried", title_justify="left")
    for column in ("when", "what", "result", ""):
        result.add_column(column)
    for row in rows:
        result.add_row(row.when, row.what, escape(row.result), "[green]held[/]" if row.held else "[red]FAILED[/]")
    return result
