"""The computed table of `docs/scale.md`, written from the constants of the reference run: `python -m benchmarks.scalepage`.

The reference is what `benchmarks.readme` keeps. A test holds the page against it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.million import GBIT_S, MILLION, SIZES, WORKERS, Constants, table
from benchmarks.readme import reference

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
_SPOT = re.compile(r"(<!-- computed -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with the table of these sections' constants, or with a sentence where there are none."""
    lines = ["Not measured yet."]
    if "shards" in sections:
        lines = table(Constants(**sections["shards"]["data"]["constants"]), MILLION, SIZES, WORKERS, GBIT_S)
    text, places = _SPOT.subn(lambda match: match[1] + "\n".join(["", *lines, "", ""]) + match[2], text)
    if places != 1:
        raise ValueError(f"{PAGE.name} has {places} places for the table")
    return text


def main() -> int:
    """The command."""
    PAGE.write_text(written(PAGE.read_text(), reference()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
