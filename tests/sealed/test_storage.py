"""A file is complete or not there; what it replaces is a plain file or nothing."""

import os
import stat
from pathlib import Path

import pytest

from stfed.errors import LocalError
from stfed.sealed.errors import MalformedError
from stfed.sealed.storage import File, Memory, check_target, create_file, opened, read_bytes, replacing


def test_a_finished_block_leaves_the_file_private_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(0o666)
    with replacing(target) as file:
        file.write_at(4, b"world")
        file.write_at(0, b"new ")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new world"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_file_and_nothing_else(error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def fail() -> None:
        with replacing(target) as file:
            file.write_at(0, b"partial")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_everything_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with replacing(tmp_path / "out"):
        pass
    assert steps == ["file", "rename", "folder"]


def test_targets_that_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("link", "symbolic link"), ("dangling", "symbolic link"), ("pipe", "not a plain file"), (".", "a folder")):
        with pytest.raises(LocalError, match=says), replacing(tmp_path / name):
            pytest.fail("the block must not run")
    with pytest.raises(LocalError, match="there is no folder"):
        check_target(tmp_path / "no" / "file")
    os.link(tmp_path / "file", tmp_path / "same")
    with pytest.raises(LocalError, match="input and output at once"):
        check_target(tmp_path / "same", source=tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_link_put_in_place_meanwhile_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")

    def lose_the_race() -> None:
        with replacing(tmp_path / "out") as file:
            file.write_at(0, b"secret")
            (tmp_path / "out").symlink_to("victim")

    with pytest.raises(LocalError, match="symbolic link"):
        lose_the_race()
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "victim"]


def test_a_long_name_is_no_obstacle(tmp_path: Path) -> None:
    with replacing(tmp_path / ("x" * 250)) as file:
        file.write_at(0, b"1")
    assert (tmp_path / ("x" * 250)).read_bytes() == b"1"


def test_create_file_never_overwrites(tmp_path: Path) -> None:
    create_file(tmp_path / "new", b"1", 0o600)
    with pytest.raises(LocalError, match="not overwritten"):
        create_file(tmp_path / "new", b"2", 0o600)
    assert (tmp_path / "new").read_bytes() == b"1"


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    with opened(path) as descriptor:
        file = File(descriptor)
        assert file.size_bytes == 100
        assert read_bytes(file, 10, 20) == bytes(range(10, 20))
        os.truncate(path, 50)
        with pytest.raises(MalformedError, match="became shorter"):
            read_bytes(file, 40, 60)
    assert read_bytes(Memory(memoryview(b"abcdef")), 2, 4) == b"cd"
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*none"), opened(tmp_path / "none"):
        pass
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(LocalError, match="not a plain file"), opened(odd):
            pass
