"""What stands between a working tree and a release says no where it has to: changelog, version, commit, contents, secrets, hooks."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import stfed
from stfed.keys import Identity, SigningKey, generate_keypair
from stfed.keys.signing import Kind
from tests.release import artifacts, keycheck, notes
from tests.release.__main__ import check_committed
from tests.release.notes import NotReadyError

ROOT = Path(__file__).parents[1]
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]}
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
CHANGES = (
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n\n### Added\n\n- This.\n\n## [1.1.0] - 2025-12-01\n\n### Fixed\n\n- That.\n"
)
METADATA = "Metadata-Version: 2.4\nName: stfed\nVersion: 1.2.0\nLicense-Expression: Apache-2.0\nRequires-Python: >=3.11\n"
TEXT = "Description-Content-Type: text/markdown\n\n# stfed\n"

in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an sdist has neither git's folder nor the workflows")


def ask(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    for command in ("init -q -b main", "config user.name Somebody", "config user.email nobody@invalid", "config commit.gpgsign false"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    (folder / "file").write_text("one")
    subprocess.run(["git", "add", "file"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "one"], cwd=folder, check=True)
    return folder


def test_the_changelog_that_is_there_begins_with_this_version() -> None:
    found = notes.sections((ROOT / "CHANGELOG.md").read_text())
    first, version, *_ = found
    assert first == "Unreleased"
    assert version == stfed.__version__
    date, body = found[version]
    assert date == "unreleased" or dt.date.fromisoformat(str(date))
    assert len(body) > 1000


def test_a_dated_section_is_what_a_release_takes() -> None:
    assert notes.check_changelog(CHANGES, "1.2.0") == "### Added\n\n- This."


@pytest.mark.parametrize(
    ("change", "to", "why"),
    [
        ("[1.2.0] - 2026-01-31", "[1.2.0] - unreleased", "is dated unreleased"),
        ("[1.2.0] - 2026-01-31", "[1.2.0]", "is dated None"),
        ("[1.2.0] - 2026-01-31", "[1.2.0] - 2999-01-31", "yet to come"),
        ("[1.2.0] - 2026-01-31", "[1.3.0] - 2026-01-31", "has no section"),
        ("[Unreleased]\n", "[1.3.0] - 2026-02-01\n", "is not the first one"),
        ("[Unreleased]\n", "[Unreleased]\n\n### Added\n\n- More.\n", "unreleased entries"),
        ("### Added", "### News", "has the headings"),
        ("### Added", "", "has the headings"),
    ],
)
def test_a_changelog_that_is_not_ready(change: str, to: str, why: str) -> None:
    assert change in CHANGES
    with pytest.raises(NotReadyError, match=why):
        notes.check_changelog(CHANGES.replace(change, to), "1.2.0")


def test_a_version_that_is_written_differently_somewhere(tmp_path: Path) -> None:
    notes.check_version(ROOT, stfed.__version__)
    for version in ("9.9.9", "v1.2.3", "1.2", "1.2.3-rc1"):
        with pytest.raises(NotReadyError):
            notes.check_version(ROOT, version)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.9.9"\n')
    with pytest.raises(NotReadyError, match=r"pyproject\.toml says 9\.9\.9"):
        notes.check_version(tmp_path, stfed.__version__)


def test_only_a_commit_is_released_and_a_version_once(repository: Path) -> None:
    check_committed(repository, "1.2.0")
    (repository / "more").write_text("two")
    with pytest.raises(NotReadyError, match="in no commit"):
        check_committed(repository, "1.2.0")
    subprocess.run(["git", "tag", "v1.2.0"], cwd=repository, check=True)
    subprocess.run(["git", "add", "more"], cwd=repository, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "two"], cwd=repository, check=True)
    check_committed(repository, "1.3.0")
    with pytest.raises(NotReadyError, match="on another commit"):
        check_committed(repository, "1.2.0")


def wheel(folder: Path, **changes: str | None) -> Path:
    """A small wheel; a change that is None takes a file away."""
    about = "stfed-1.2.0.dist-info"
    files: dict[str, str | None] = {
        "stfed/__init__.py": "",
        "stfed/py.typed": "",
        f"{about}/METADATA": METADATA + TEXT,
        f"{about}/licenses/LICENSE": "",
        f"{about}/entry_points.txt": "",
        **changes,
    }
    path = folder / "stfed-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            if text is not None:
                archive.writestr(name, text)
    return path


def test_a_wheel_as_it_should_be(tmp_path: Path) -> None:
    artifacts.check_wheel(wheel(tmp_path), "1.2.0")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tests/test_all.py", "", "holds tests/test_all.py"),
        ("stfed/model.safetensors", "", "holds stfed/model.safetensors"),
        ("stfed/py.typed", None, "lacks stfed/py.typed"),
        ("stfed/table.py", "#" * 300_000, "holds the large stfed/table.py"),
        ("stfed/key.py", f"KEY = '{'AGE-SECRET-KEY-1' + 'Q' * 58}'", "stfed/key.py:1: a secret key"),
        ("stfed-1.2.0.dist-info/METADATA", METADATA.replace("1.2.0", "1.1.0") + TEXT, "version is"),
        ("stfed-1.2.0.dist-info/METADATA", METADATA + "\n# stfed\n", "description_content_type"),
        ("stfed-1.2.0.dist-info/METADATA", METADATA.replace("Apache-2.0", "MIT") + TEXT, "license_expression"),
    ],
    ids=["test", "data", "untyped", "large", "key", "version", "text", "licence"],
)
def test_a_wheel_that_is_not_ready(name: str, text: str | None, why: str, tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=why):
        artifacts.check_wheel(wheel(tmp_path, **{name: text}), "1.2.0")


def test_builds_that_differ_are_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one.whl", tmp_path / "other.whl"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    artifacts.check_same([one], [one])
    with pytest.raises(NotReadyError, match=r"two builds of one\.whl differ"):
        artifacts.check_same([one], [other])


def test_the_sums_are_what_sha256sum_checks(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")
    (tmp_path / "SHA256SUMS").write_text(artifacts.sums([tmp_path / "a.whl"]))
    assert ask("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "make",
    [lambda: generate_keypair()[0], lambda: generate_keypair("x25519")[0], SigningKey.generate, lambda: SigningKey.generate(Kind.HYBRID)],
    ids=["post-quantum", "x25519", "signing", "hybrid"],
)
def test_a_secret_key_is_found_and_not_repeated(make: Callable[[], Identity | SigningKey]) -> None:
    secret = make().secret_string()
    for text in (secret, f"key = '{secret.lower()}'"):
        (found,) = keycheck.findings([("notes.md", f"first line\n{text}\n".encode())])
        assert found.startswith("notes.md:2: a secret key")
        assert secret[20:40] not in found.upper()
    assert not list(keycheck.findings([("tests/vectors/keys/one.json", secret.encode())]))


def test_what_begins_like_a_key_is_none() -> None:
    assert not keycheck.keys_in(b"it starts with AGE-SECRET-KEY-PQ-1 or AGE-SECRET-KEY-1, a recipient is age1pq1...")
    assert keycheck.keys_in(b"-----BEGIN PRIVATE KEY-----\n" + b"M" * 64)


@in_git
def test_nothing_that_git_tracks_is_a_secret() -> None:
    done = ask(sys.executable, "-m", "tests.release.keycheck", cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_local_and_its_command_is_there(name: str) -> None:
    shell, option, script, *_ = shlex.split(HOOKS[name]["entry"])
    assert (shell, option, HOOKS[name]["language"]) == ("bash", "-c", "system")
    command = shlex.split(script.partition("exec ")[2])
    assert shutil.which(command[0], path=ENVIRONMENT["PATH"])
    assert command[0] != "python" or importlib.util.find_spec(command[2])


def test_git_refuses_to_commit_a_key(repository: Path, tmp_path: Path) -> None:
    """The configuration itself, through pre-commit and git."""
    shutil.copy(ROOT / ".pre-commit-config.yaml", repository)
    home = {"PRE_COMMIT_HOME": str(tmp_path / "home")}
    assert ask("pre-commit", "install", cwd=repository, **home).returncode == 0
    (repository / "notes.txt").write_text("nothing\n")
    ask("git", "add", ".", cwd=repository)
    done = ask("git", "commit", "-m", "harmless", cwd=repository, **home)
    assert done.returncode == 0, done.stdout + done.stderr
    secret = generate_keypair()[0].secret_string()
    (repository / "alice.key").write_text(f"{secret}\n")
    ask("git", "add", ".", cwd=repository)
    done = ask("git", "commit", "-m", "a key", cwd=repository, **home)
    assert done.returncode == 1
    assert "alice.key:1: a secret key" in done.stdout + done.stderr
    assert secret[20:40] not in done.stdout + done.stderr


@in_git
def test_the_workflows_run_what_is_run_here_and_name_no_host() -> None:
    files = {path.stem: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    steps = {name: [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]] for name, text in files.items()}
    assert [step["run"] for step in steps["tests"] if "run" in step] == [".ci/run"]
    assert 'make release VERSION="${GITHUB_REF_NAME#v}"' in [step.get("run") for step in steps["release"]]
    for text in files.values():
        assert "://" not in text
        permissions: dict[str, Any] = yaml.safe_load(text)["permissions"]
        assert permissions == {"contents": "read"}


def test_make_release_wants_a_version() -> None:
    touched = ("--old-file=.venv/.installed", "BIN=/bin")  # nothing is set up, and nothing is run but the question
    asked = ask("make", *touched, "-n", "release", "VERSION=1.2.3", cwd=ROOT)
    assert asked.returncode == 0
    assert "-m tests.release 1.2.3" in asked.stdout


def test_make_help_has_every_target_in_a_group() -> None:
    told = ask("make", "--no-print-directory", "help", cwd=ROOT).stdout
    (phony,) = (line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    named = [line.split()[1] for line in told.splitlines() if line.startswith("  make ")]
    assert sorted(named) == sorted(phony.split()[1:])
    assert len([line for line in told.splitlines() if line and not line.startswith(" ")]) == 4
