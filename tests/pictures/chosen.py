"""The table of docs/parameters.md: what the calculator chooses for cohorts of different sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stfed.secagg.params import Mode, choose

PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"
COHORTS = (4, 5, 10, 20, 50, 100, 200, 1000)
GAMMA = DELTA = "0.1"
_SPOT = re.compile(r"(<!-- computed -->\n).*?(<!-- end -->)", re.DOTALL)


def rows() -> Iterator[str]:
    """A line for each cohort."""
    for n in COHORTS:
        plain = choose(n, GAMMA, DELTA)
        lying = choose(n, GAMMA, DELTA, mode=Mode.MALICIOUS)
        assert lying.quorum is not None
        assert lying.honest_floor is not None
        honest = lying.honest_floor + 1
        yield f"| {n} | {plain.corrupt} | {plain.dropouts} | {plain.k}, {plain.t} | {lying.k}, {lying.t} | {lying.quorum} | {honest} |\n"


def written(page: str) -> str:
    """The page with its table anew."""
    head = "| n | C | D | k, t | k, t if it may lie | signatures | honest inputs then |\n" + "|---" * 7 + "|\n"
    return _SPOT.sub(lambda spot: f"{spot[1]}\n{head}{''.join(rows())}\n{spot[2]}", page)
