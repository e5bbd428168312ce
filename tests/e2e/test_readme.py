"""Every block of the README runs, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


def blocks(document: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_has_a_language_that_is_tested(document: str) -> None:
    found = blocks(document)
    assert found
    assert {language for language, _ in found} <= {"bash", "python", "diff"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_blocks_run(document: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, block in blocks(document):
        if language == "python":
            command = [sys.executable, "-c", block]
        elif language == "bash" and block.startswith("make "):
            check_make_targets(block)
            continue
        elif language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", block]
        else:
            continue  # the diff: tests/e2e/test_adoption.py applies it and runs both apps
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, f"{block}\n{result.stdout}{result.stderr}"


def check_make_targets(block: str) -> None:
    """`make` itself is running this test, so its commands are only looked up."""
    for line in block.splitlines():
        target = line.partition("#")[0].split()[1]
        result = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


def test_relative_links_lead_somewhere() -> None:
    pages = [*(ROOT / document for document in DOCUMENTS), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target, anchor in re.findall(r"\]\(((?!http)[^)#]*)(?:#([^)]+))?\)", page.read_text()):
            found = page.parent / target if target else page
            assert found.exists(), f"{page.relative_to(ROOT)}: {target}"
            if anchor and found.suffix == ".md":
                assert anchor in headings(found), f"{page.relative_to(ROOT)}: {target}#{anchor}"


def headings(page: Path) -> set[str]:
    """The anchors that Markdown renderers make of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
