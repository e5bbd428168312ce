"""docs/privacy.md: its blocks run, and its tables are what the accountant says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stfed.dp import Sum, calibrate_noise, epsilon_of

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BOUND, COORDINATES, DELTA = 10**6, 10**4, 1e-5


def table(corner: str) -> list[tuple[float, dict[int, str]]]:
    """The rows of the table with this corner: the first number, and the others by number of sums."""
    head, _, *rows = re.search(rf"^\| {corner} \|.*\n(?:\|.*\n)+", PAGE, re.MULTILINE)[0].splitlines()  # type: ignore[index]
    sums = [int(number) for number in re.findall(r"\d+", head)]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [(float(first), dict(zip(sums, rest, strict=True))) for first, *rest in cells]


def of(multiplier: float) -> Sum:
    return Sum(BOUND, COORDINATES, multiplier**2 * BOUND)


def test_there_is_no_block_that_does_not_run() -> None:
    assert len(BLOCKS) == PAGE.count("```") / 2 == 4


@pytest.mark.parametrize("block", BLOCKS)
def test_the_blocks_run(block: str) -> None:
    exec(compile(block, "docs/privacy.md", "exec"), {})


def test_what_a_multiplier_costs() -> None:
    rows = table("z")
    assert len(rows) == 5
    for multiplier, cells in rows:
        assert {rounds: f"{epsilon_of([of(multiplier)], DELTA, rounds):.2f}" for rounds in cells} == cells


def test_what_an_epsilon_takes() -> None:
    rows = table("ε")
    assert len(rows) == 4
    for epsilon, cells in rows:
        assert {rounds: f"{calibrate_noise(epsilon, DELTA, rounds, of):.2f}" for rounds in cells} == cells
