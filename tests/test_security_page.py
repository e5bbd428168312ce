"""docs/security.md says what the code does: every place and test it names exists, its links lead somewhere, its numbers are computed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
CODE = r"`((?:secagg|flower|crypto)\.[a-zA-Z_.]+)`"


def resolves(name: str) -> bool:
    """Whether `stfed.name` is a module or something in one."""
    parts = ("stfed." + name).split(".")
    for cut in range(len(parts), 1, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        return all((found := getattr(found, part, None)) is not None for part in parts[cut:])
    return False


def test_every_place_in_the_code_exists() -> None:
    names = set(re.findall(CODE, PAGE))
    assert len(names) > 40
    assert [name for name in sorted(names) if not resolves(name)] == []


def test_every_test_exists() -> None:
    named: list[tuple[str, str]] = []
    for cell in re.findall(r"`tests/[^|\n]*", PAGE):
        file = ""
        for part in re.findall(r"`([^`]+)`", cell):
            if not part.startswith(("tests/", "::")):
                continue
            path, _, test = part.partition("::")
            file = path or file
            named.append((file, test))
    assert len(named) > 30
    for file, test in named:
        text = (ROOT / file).read_text()
        assert not test or re.search(rf"def {test}\b", text), f"{file}::{test}"


def test_every_link_leads_somewhere() -> None:
    anchors = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        assert target.startswith("https://") or not path or (ROOT / "docs" / path).exists(), target
        assert path or anchor in anchors, target


@pytest.mark.parametrize("row", re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE))
def test_the_table_is_the_calculators(row: tuple[str, ...]) -> None:
    roster, n, gamma, corrupt, honest = int(row[0]), int(row[1]), float(row[2]), int(row[3]), int(row[4])
    chosen = choose(n, gamma, 0.1, mode=Mode.MALICIOUS, roster=roster)
    policy = Policy(mode=Mode.MALICIOUS, gamma=gamma, roster=roster)
    assert chosen.quorum is not None
    assert (chosen.corrupt, max(chosen.t + 1, chosen.quorum, policy.floor(n, n - 1)) - chosen.corrupt) == (corrupt, honest)
