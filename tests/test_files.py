"""A file is complete or not there; what it replaces is a plain file or nothing."""

import os
import stat
from pathlib import Path

import pytest

from stfed.errors import LocalError, MalformedError
from stfed.files import File, Memory, check_private, check_target, create_file, opened, read_bytes, replacing

from .strangers import STRANGER, give_away


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


# Files that only our hand may have touched


def private(folder: Path) -> Path:
    """A file that passes, in a folder that passes."""
    folder.mkdir(mode=0o755, exist_ok=True)
    (folder / "file").touch(0o644)
    (folder / "file").chmod(0o644)
    folder.chmod(0o755)
    return folder / "file"


def refusal(path: Path, *, database: bool = False) -> LocalError:
    with pytest.raises(LocalError) as caught:
        check_private(path, database=database)
    return caught.value


def test_what_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "folder")
    check_private(path)
    monkeypatch.chdir(path.parent)
    check_private("file")
    check_private(path.parent / "none")
    check_private(tmp_path / "no" / "where")
    check_private(path / "below")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        check_private(tmp_path / name)
    path.parent.chmod(0o1777)
    check_private(path)
    check_private(path.parent / "none")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_may_write_to(mode: int, tmp_path: Path) -> None:
    path = private(tmp_path / "folder")
    path.chmod(mode)
    (tmp_path / "link").symlink_to(path)
    for name in (path, tmp_path / "link"):
        error = refusal(name)
        assert error.message == f"{name} is relied on, and others than its owner may change it (mode {mode:04o})"
        assert error.hint == f"chmod go-w {name}"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o730, 0o2775])
def test_a_folder_that_others_may_write_to(mode: int, tmp_path: Path) -> None:
    """Also by way of a link: who may replace the link chooses the file as well as who may replace the file."""
    path, ours = private(tmp_path / "folder"), private(tmp_path / "ours")
    (tmp_path / "to-it").symlink_to(path)
    (path.parent / "from-it").symlink_to(ours)
    path.parent.chmod(mode)
    for name in (path, path.parent / "none", path.parent / "from-it", tmp_path / "to-it"):
        error = refusal(name)
        assert f"they may write to its folder (mode {mode:04o})" in error.message
        assert str(error.hint).startswith(f"chmod go-w {path.parent}, or ")
    check_private(ours)


def test_what_belongs_to_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "folder")
    (tmp_path / "to-it").symlink_to(path)
    give_away(path, monkeypatch)
    for name in (path, tmp_path / "to-it"):
        error = refusal(name)
        assert error.message.startswith(f"{path} is relied on, and belongs to another user (uid {STRANGER})")
        assert "make a copy of your own" in str(error.hint)


def test_a_folder_and_a_link_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ours = private(tmp_path / "folder"), private(tmp_path / "ours")
    (tmp_path / "link").symlink_to(ours)
    give_away(path.parent, monkeypatch)
    give_away(tmp_path / "link", monkeypatch)
    for name in (path, path.parent / "none"):
        assert f"folder of another user (uid {STRANGER})" in refusal(name).message
    path.parent.chmod(0o1755)  # its owner may move everything in it, sticky or not
    assert "folder of another user" in refusal(path).message
    assert refusal(tmp_path / "link").message.startswith(f"{tmp_path / 'link'} is relied on, and belongs to another user")


def test_ours_is_what_belongs_to_the_user_we_run_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "folder")
    give_away(path, monkeypatch)
    give_away(path.parent, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    check_private(path)
    check_private("/etc/passwd")  # root's


def test_what_was_opened_is_judged_and_not_what_has_the_name_now(tmp_path: Path) -> None:
    path = private(tmp_path / "folder")
    path.chmod(0o666)
    with opened(path) as descriptor:
        path.unlink()
        private(tmp_path / "folder")
        check_private(path)
        with pytest.raises(LocalError, match="mode 0666"):
            check_private(path, status=os.fstat(descriptor))
        path.unlink()
        with pytest.raises(LocalError, match="mode 0666"):
            check_private(path, status=os.fstat(descriptor))


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_what_sqlite_takes_for_its_own_must_be_ours(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "folder")
    path.parent.chmod(0o1777)
    (tmp_path / "link").symlink_to(path)
    companion = Path(f"{path}{ending}")
    companion.touch(0o666)
    check_private(path, database=True)
    give_away(companion, monkeypatch)
    for name in (path, tmp_path / "link"):  # SQLite follows the link before it looks
        error = refusal(name, database=True)
        assert error.message.startswith(f"{companion} belongs to another user (uid {STRANGER}), and SQLite")
        check_private(name)
    path.unlink()
    assert "and SQLite" in refusal(path, database=True).message
