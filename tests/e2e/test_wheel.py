"""The wheel holds the package alone and works outside the checkout, with nothing of the repository in reach."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import stfed

ROOT = Path(__file__).parents[2]


def test_the_wheel_builds_and_runs_outside_the_checkout(tmp_path: Path) -> None:
    # Without isolation: the build backend is in the environment, at the version that constraints.txt says.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"stfed-{stfed.__version__}-")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"stfed", f"stfed-{stfed.__version__}.dist-info"}
    assert "stfed/py.typed" in names
    assert not [name for name in names if "test_" in name]

    script = (
        "import sys, stfed; from stfed.flower import SecureAggregation, secagg_mod; from stfed.cli import main; "
        "assert '.whl' in stfed.__file__, stfed.__file__; "
        "sys.exit(main(['plan', '--parties', '10', '--gamma', '0.1', '--delta', '0.1', '--json']))"
    )
    # The wheel goes onto the path as it is, in front; -P and an empty folder keep the checkout out.
    result = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(wheel)!r}); {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert '"t"' in result.stdout


def test_the_version_is_the_projects() -> None:
    assert f'version = "{stfed.__version__}"' in (ROOT / "pyproject.toml").read_text()
