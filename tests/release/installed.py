"""A wheel in an environment of its own, outside the repository: what somebody gets who installs it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.release.notes import NotReadyError

ROUND = Path(__file__).with_name("round.py")


def install(wheel: Path, folder: Path, *, constraints: Path | None = None) -> Path:
    """A virtual environment with the wheel; its `bin` folder.

    Args:
        wheel: the file.
        folder: where the environment is made.
        constraints: the versions of what stfed depends on, which are fetched. Without it nothing is fetched: what this environment has is
            put behind the wheel, so that only stfed itself is new.
    """
    _ask(sys.executable, "-m", "venv", "--without-pip", str(folder))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    if constraints is not None:
        _ask(*pip, "--constraint", str(constraints), str(wheel))
        return folder / "bin"
    _ask(*pip, "--no-deps", "--no-index", "--no-compile", str(wheel))
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "behind.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # links of editable installs in there are not followed
    return folder / "bin"


def check(bin_: Path, version: str, empty: Path) -> str:
    """`stfed --version` and a round, from an empty folder; what the round printed."""
    said = _ask(str(bin_ / "stfed"), "--version", cwd=empty)
    if said.strip() != f"stfed {version}":
        raise NotReadyError(f"the installed `stfed --version` says {said.strip()!r}")
    *_, told = _ask(str(bin_ / "python"), "-P", str(ROUND), cwd=empty).splitlines()  # Flower logs before it
    if str(bin_.parent) not in told:
        raise NotReadyError(f"the round ran with another stfed than the one that was installed: {told}")
    return told


def _ask(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise NotReadyError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout
