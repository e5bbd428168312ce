"""What is given away works outside the checkout, with nothing of the repository in reach: it runs, and its types reach users.

Built once: wheel and sdist from the tree, and the wheel again from the sdist, to the same bytes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import stfed
from tests.release import artifacts, installed

ROOT = Path(__file__).parents[2]
USER = ROOT / "tests" / "release" / "user"
EPOCH_S = 1_700_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    sdist, wheel = sorted(artifacts.build(ROOT, tmp_path_factory.mktemp("dist"), EPOCH_S, "sdist", "wheel"), key=lambda path: path.suffix)
    return wheel, sdist


@pytest.fixture(scope="module")
def bin_(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that the wheel is installed in. What it depends on is that of this one."""
    return installed.install(built[0], tmp_path_factory.mktemp("environment"))


def test_wheel_and_sdist_hold_what_they_are_to_hold(built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    assert wheel.name == f"stfed-{stfed.__version__}-py3-none-any.whl"
    artifacts.check_wheel(wheel, stfed.__version__)
    artifacts.check_sdist(sdist, stfed.__version__)


def test_the_sdist_builds_the_same_wheel_byte_for_byte(built: tuple[Path, Path], tmp_path: Path) -> None:
    source = artifacts.unpacked(built[1], tmp_path / "source")
    artifacts.check_same([built[0]], artifacts.build(source, tmp_path / "again", EPOCH_S, "wheel"))


def test_the_wheel_runs_outside_the_checkout(bin_: Path, tmp_path: Path) -> None:
    told = installed.check(bin_, stfed.__version__, tmp_path)
    assert "the sum of 4 parties gives 1.500000" in told
    command = [str(bin_ / "stfed"), "plan", "--parties", "10", "--gamma", "0.1", "--delta", "0.1", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"t"' in done.stdout


def test_its_types_reach_a_users_type_checker(bin_: Path, tmp_path: Path) -> None:
    """Strict, and only of the user's files. What this project's own check knows of flwr, torch and NumPy is not worked out again."""
    user = [shutil.copy(USER / name, tmp_path / name) for name in ("client_app.py", "server_app.py", "mistakes.py")]
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--strict", "--python-executable", str(bin_ / "python"), "--no-error-summary"]
    with tempfile.TemporaryDirectory() as cache:  # a hundred megabytes, which pytest would keep
        if (ROOT / ".mypy_cache").exists():
            shutil.copytree(ROOT / ".mypy_cache", cache, dirs_exist_ok=True)
        command = [sys.executable, "-m", "mypy", *options, "--cache-dir", cache, *user]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False).stdout
    found = re.findall(r"^([\w.]+):(\d+): error: .*\[([a-z-]+)\]$", told, re.MULTILINE)
    lines = (USER / "mistakes.py").read_text().splitlines()
    meant = [("mistakes.py", str(at), line.partition(" wrong: ")[2]) for at, line in enumerate(lines, 1) if " wrong: " in line]
    assert found == meant, told
    assert len(meant) == 6


def test_the_version_is_the_projects() -> None:
    assert f'version = "{stfed.__version__}"' in (ROOT / "pyproject.toml").read_text()
