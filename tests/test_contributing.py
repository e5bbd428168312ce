"""The pages for contributors say what is so: their code runs, their tables are those of the tree, what they name is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import map as test_map

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "contributing").glob("*.md"))
HOW_TO = ("add-a-stage", "add-a-strategy", "add-a-suite")


def blocks(name: str) -> str:
    page = (ROOT / "docs" / "contributing" / f"{name}.md").read_text()
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", HOW_TO)
def test_what_the_page_does_step_by_step_can_be_done(name: str, tmp_path: Path) -> None:
    """In a process of its own: a page changes what the package knows."""
    code = blocks(name)
    assert "assert " in code
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_folder_is_on_the_map_with_about_as_many_tests_as_it_has() -> None:
    counts = test_map.counts()
    assert set(counts) == set(test_map.PROVES), "tests/map.py says what a folder of tests proves"
    rows = re.findall(r"^\| `tests/([^`]+)` \| .+ \| (\d+) \|$", test_map.PAGE.read_text(), re.MULTILINE)
    written = {folder.replace("test_*.py", "."): int(count) for folder, count in rows}
    assert set(written) == set(counts)
    far = {folder: (written[folder], count) for folder, count in counts.items() if abs(written[folder] - count) > max(20, 0.3 * count)}
    assert not far, f"stale: python -m tests.map: {far}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_and_module_that_a_page_names_is_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for path in set(re.findall(r"`((?:stfed|tests|strategies|configs|docs|benchmarks|\.github)/[\w./-]+)`", text)):
        new = path in ("strategies/secure_fedavgm.py", "configs/fedavgm.toml", "tests/vectors/sealed/signed-sha3.safetensors")
        assert (ROOT / path).exists() is not new, path
    for module in set(re.findall(r"python -m ((?:tests|benchmarks)[\w.]*)", text)):
        place = ROOT.joinpath(*module.split("."))
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
    for path in set(re.findall(r"python -m pytest (tests/[\w./]+)", text)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_make_target_that_a_page_names_is_there(page: Path) -> None:
    (phony,) = (line.split()[1:] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert set(re.findall(r"(?:^|[` ])make ([a-z-]+)(?:[` ]|$)", page.read_text(), re.MULTILINE)) - {"it"} <= set(phony)


def test_the_picture_of_the_rooms_has_every_room() -> None:
    """That it is drawn anew is held by tests/pictures."""
    rooms = {path.parent.name for path in (ROOT / "stfed").glob("*/__init__.py")}
    shown = set(re.findall(r'font-weight="600"[^>]*>([a-z]+)<', (ROOT / "docs" / "pictures" / "rooms.svg").read_text()))
    assert rooms <= shown
