"""The folder: where it is, whose it is, and that what appears in it is whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stfed.errors import LocalError
from stfed.library.home import Home, default_home
from tests.strangers import give_away


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_place_is_the_one_of_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_home() == tmp_path / ".local" / "share" / "stfed"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_home() == tmp_path / "data" / "stfed"
    monkeypatch.setenv("XDG_DATA_HOME", "data")  # relative: to be ignored
    assert default_home() == tmp_path / ".local" / "share" / "stfed"


def test_nobody_else_may_look_into_what_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b" / "stfed")
    assert [mode(folder) for folder in (home.path, home.path.parent, home.path.parent.parent)] == [0o700] * 3
    assert Home(home.path).path == home.path
    with home.locked():
        assert mode(home.path / "lock") == 0o600


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o777, 0o1777])
def test_a_folder_that_others_may_use_is_refused(tmp_path: Path, bits: int) -> None:
    home = Home(tmp_path / "home").path
    home.chmod(bits)
    with pytest.raises(LocalError, match=r"others may use it .*chmod 700"):
        Home(home)


def test_a_folder_that_others_may_replace_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "shared" / "home").path
    home.parent.chmod(0o777)
    with pytest.raises(LocalError, match="others may replace it"):
        Home(home)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").path
    give_away(home, monkeypatch)
    with pytest.raises(LocalError, match="belongs to another user"):
        Home(home)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="is no folder"):
        Home(tmp_path / "file")
    with pytest.raises(LocalError, match="cannot be made"):
        Home(tmp_path / "file" / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LocalError, match="cannot be made"):
        Home(tmp_path / "home")


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (home.path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError, match="lock cannot be opened"), home.locked():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_set_of_keys_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert not home.has("keys", ("a", "b"))
    with pytest.raises(FileNotFoundError), home.making("keys") as folder:
        (folder / "a").rename(folder / "b")
    assert not any(home.path.iterdir())
    left = home.path / ".keys.0123456789abcdef.tmp"  # of a process that was killed
    left.mkdir()
    (left / "a").touch()
    with home.making("keys") as folder:
        (folder / "a").touch()
        (folder / "b").touch()
        assert not home.has("keys", ("a", "b"))
    assert [path.name for path in home.path.iterdir()] == ["keys"]
    assert home.has("keys", ("a", "b"))
    assert mode(home.path / "keys") == 0o700


def test_a_set_that_lost_a_part_is_reported(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.making("keys") as folder:
        (folder / "a").touch()
    with pytest.raises(LocalError, match=r"incomplete: b is missing.*backup"):
        home.has("keys", ("a", "b"))
    with pytest.raises(LocalError, match="incomplete: b and c are missing"):
        home.has("keys", ("b", "c"))
    (home.path / "keys").chmod(0o755)
    with pytest.raises(LocalError, match="others may use it"):
        home.has("keys", ("a",))
