"""Wheel and sdist: built twice to the same bytes, holding what they are to hold, and saying what is true of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

from tests.release.keycheck import findings
from tests.release.notes import NotReadyError

MAX_WHEEL_FILE_BYTES = 256 * 1024
MAX_SDIST_FILE_BYTES = 2 * 1024 * 1024
SOURCES = (".py", ".html", ".css", ".js")
"""What the package consists of: modules, and the dashboard's page."""
TOP = {
    *("stfed", "strategies", "examples", "tests", "configs", "docs", "benchmarks"),
    *("pyproject.toml", "constraints.txt", "mkdocs.yml", "Makefile", "PKG-INFO", ".gitignore", ".pre-commit-config.yaml"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"),
}
"""What lies at the top of the sdist; anything else got there by accident."""


def build(root: Path, out: Path, epoch_s: int, *kinds: str) -> list[Path]:
    """Builds `wheel` and `sdist`, or one of them, into a folder, with this time in them. Its backend is the one of this environment."""
    options = [f"--{kind}" for kind in kinds]
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(out), str(root)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch_s)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise NotReadyError(f"the build failed:\n{done.stdout}{done.stderr}")
    return sorted(path for path in out.iterdir() if path.suffix in (".whl", ".gz"))


def unpacked(sdist: Path, folder: Path) -> Path:
    """The root of an sdist, unpacked into a folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def check_same(first: list[Path], second: list[Path]) -> None:
    """Two builds gave the same bytes."""
    for one, other in zip(first, second, strict=True):
        if one.read_bytes() != other.read_bytes():
            raise NotReadyError(f"two builds of {one.name} differ: something in it depends on time, place or order")


def contents(path: Path) -> dict[str, bytes]:
    """The files of a wheel or an sdist by name, that of an sdist without its first folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {member.name.partition("/")[2]: data.read() for member in members if (data := archive.extractfile(member)) is not None}


def check_wheel(path: Path, version: str) -> None:
    """The package alone: sources, the mark that they are typed, the licence; no tests, no secrets, nothing large."""
    files, about = contents(path), f"stfed-{version}.dist-info"
    strangers = [name for name in files if name.partition("/")[0] not in ("stfed", about)]
    strangers += [name for name in files if name.startswith("stfed/") and not name.endswith(SOURCES) and name != "stfed/py.typed"]
    missing = {"stfed/py.typed", "stfed/__init__.py", f"{about}/licenses/LICENSE", f"{about}/entry_points.txt"} - files.keys()
    _check_files(path.name, files, strangers, sorted(missing), MAX_WHEEL_FILE_BYTES)
    check_metadata(files[f"{about}/METADATA"], version)


def check_sdist(path: Path, version: str) -> None:
    """Everything that it takes to build, test and read about this version, and nothing else."""
    files = contents(path)
    strangers = [name for name in files if name.partition("/")[0] not in TOP]
    missing = [name for name in sorted(TOP) if not any(path.partition("/")[0] == name for path in files)]
    _check_files(path.name, files, strangers, missing, MAX_SDIST_FILE_BYTES)
    check_metadata(files["PKG-INFO"], version)


def _check_files(name: str, files: dict[str, bytes], strangers: list[str], missing: list[str], max_bytes: int) -> None:
    large = [f"{file} ({len(data):,} bytes)" for file, data in files.items() if len(data) > max_bytes]
    for what, found in (("holds", strangers), ("lacks", missing), ("holds the large", large), ("holds", list(findings(files.items())))):
        if found:
            raise NotReadyError(f"{name} {what} {', '.join(found[:5])}")


def check_metadata(data: bytes, version: str) -> None:
    """A package index would take it: valid by the standard, with a licence, a description that it can show, and the right version."""
    try:
        told = Metadata.from_email(data, validate=True)
    except ExceptionGroup as wrong:
        raise NotReadyError(f"the metadata is not valid: {'; '.join(str(error) for error in wrong.exceptions)}") from None
    facts = {
        "name": told.name == "stfed",
        "version": str(told.version) == version,
        "license_expression": told.license_expression == "Apache-2.0",
        "description_content_type": told.description_content_type == "text/markdown" and bool(told.description),
        "requires_python": told.requires_python is not None,
    }
    wrong = [name for name, holds in facts.items() if not holds]
    if wrong:
        raise NotReadyError(f"the metadata's {wrong[0]} is {getattr(told, wrong[0])!r}")


def sums(paths: list[Path]) -> str:
    """As `sha256sum --check` reads them."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
