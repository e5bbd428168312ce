"""The book builds with strict links, and the blocks of its first page run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", QUICKSTART, re.DOTALL | re.MULTILINE)


def test_the_book_builds_with_strict_links(tmp_path: Path) -> None:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md") if path.stem != "README"} <= pages.keys()
    assert "RoundReport" in pages["reference/flower.html"]
    assert (tmp_path / "source/benchmarks/results/targets.png").is_file()
    for name, text in pages.items():
        from_elsewhere = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?(?:https?:)?//[^\s>]*", text)
        assert not from_elsewhere, (name, from_elsewhere)


def test_the_commands_of_the_quickstart_run(tmp_path: Path) -> None:
    assert len(blocks("bash")) == 2
    for block in blocks("bash"):
        environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120
        )


@pytest.mark.parametrize("block", blocks("python"))
def test_the_code_of_the_quickstart_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(block, {})
