"""Writes the tables of docs/events.md from the schema:  python -m tests.report.page"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from stfed.report.schema import COMMON, EVENTS, Field

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
_SPOT = re.compile(r"(<!-- computed -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(fields: Mapping[str, Field]) -> str:
    rows = "".join(f"| `{name}` | {field.type} | {field.text} |\n" for name, field in fields.items())
    return f"| field | type | |\n|---|---|---|\n{rows}"


def written(page: str) -> str:
    """The page with its tables anew."""
    parts = [f"## Every line\n\n{_table(COMMON)}"]
    parts += [f"## `{name}`\n\n{text}\n\n{_table(fields)}" for name, (text, fields) in EVENTS.items()]
    tables = "\n".join(parts)
    return _SPOT.sub(lambda spot: f"{spot[1]}\n{tables}\n{spot[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.exit(0)
