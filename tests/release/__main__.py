"""`python -m tests.release VERSION`: everything that has to hold before a version is given away, and what is given away, in dist/."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.release import artifacts, installed, notes
from tests.release.keycheck import findings
from tests.release.notes import NotReadyError

ROOT = Path(__file__).parents[2]


@contextmanager
def step(what: str) -> Iterator[None]:
    print(f"{what} ... ", end="", flush=True)
    yield
    print("ok")


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def check_committed(root: Path, version: str) -> None:
    """What is built is a commit, and no other one has this version's tag."""
    changed = git(root, "status", "--porcelain")
    if changed:
        lines = changed.splitlines()
        more = [f"and {len(lines) - 10} more"] if len(lines) > 10 else []
        raise NotReadyError("\n".join(["the working tree has changes that are in no commit:", *lines[:10], *more]))
    tagged = git(root, "tag", "--list", f"v{version}")
    if tagged and git(root, "rev-list", "--max-count=1", tagged) != git(root, "rev-parse", "HEAD"):
        raise NotReadyError(f"the tag {tagged} is on another commit; a version is released once")


def release(root: Path, version: str, out: Path, *, tested: bool, fetch: bool) -> None:
    """All the steps, in order; the first that fails ends it, before anything is in `out`."""
    with step("the working tree is a commit, and the version is new"):
        check_committed(root, version)
    with step("the version is the same everywhere, and the changelog has it"):
        notes.check_version(root, version)
        notes.check_changelog((root / "CHANGELOG.md").read_text(), version)
    with step("no secret key is committed"):
        tracked = git(root, "ls-files").splitlines()
        found = list(findings((name, (root / name).read_bytes()) for name in tracked))
        if found:
            raise NotReadyError("\n".join(found))
    if not tested:
        print("the tests:", flush=True)
        subprocess.run(["make", "test"], cwd=root, check=True)
        with step("the tests left the working tree as it was"):
            check_committed(root, version)
    with tempfile.TemporaryDirectory(prefix="stfed-release-") as name:
        folder, epoch_s = Path(name), int(git(root, "log", "--max-count=1", "--format=%ct"))
        with step("wheel and sdist, built twice to the same bytes"):
            built = artifacts.build(root, folder / "first", epoch_s, "wheel", "sdist")
            artifacts.check_same(built, artifacts.build(root, folder / "second", epoch_s, "wheel", "sdist"))
            wheel, sdist = sorted(built, key=lambda path: path.suffix, reverse=True)
        with step("the sdist builds the same wheel"):
            source = artifacts.unpacked(sdist, folder / "source")
            artifacts.check_same([wheel], artifacts.build(source, folder / "third", epoch_s, "wheel"))
        with step("what is in them, and what they say of themselves"):
            artifacts.check_wheel(wheel, version)
            artifacts.check_sdist(sdist, version)
        with step("the wheel in an environment of its own"):
            (folder / "empty").mkdir()
            bin_ = installed.install(wheel, folder / "environment", constraints=root / "constraints.txt" if fetch else None)
            told = installed.check(bin_, version, folder / "empty")
        print(told)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        for path in built:
            shutil.copy(path, out)
        (out / "SHA256SUMS").write_text(artifacts.sums(built))
    print(f"\n{out}:\n{artifacts.sums(built_in(out))}")
    print("To release it:")
    print(f"  git tag --sign v{version} --message 'stfed {version}'")
    print(f"  git push origin v{version}")


def built_in(out: Path) -> list[Path]:
    return sorted(path for path in out.iterdir() if path.name != "SHA256SUMS")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument("version", help="as in CHANGELOG.md, without a v")
    parser.add_argument("--tested", action="store_true", help="the tests of this very commit have passed: leave them out")
    parser.add_argument("--offline", action="store_true", help="fetch nothing: the wheel runs with the dependencies of this environment")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="what is built, replaced (default: dist)")
    arguments = parser.parse_args()
    try:
        release(ROOT, arguments.version, arguments.out, tested=arguments.tested, fetch=not arguments.offline)
    except NotReadyError as problem:
        print(f"\nerror: {problem}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        print(f"\nerror: `{' '.join(failed.cmd)}` failed; its output is above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
