"""Small files: bounded, plain, and private where trust hangs on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stfed.errors import LocalError, MalformedError
from stfed.keys.smallfile import read_private, read_small
from tests.strangers import give_away


def small(tmp_path: Path, mode: int = 0o640) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    path.chmod(mode)
    return path


def test_what_is_read(tmp_path: Path) -> None:
    path = small(tmp_path)
    assert read_small(path, 5) == (b"12345", 0o640)
    assert read_private(path, 5) == b"12345"


def test_what_is_not_read(tmp_path: Path) -> None:
    path = small(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for read in (read_small, read_private):
        with pytest.raises(MalformedError, match="too long: 5 bytes, and 4 are possible"):
            read(path, 4)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none", 4)
        for odd in (tmp_path, tmp_path / "pipe"):
            with pytest.raises(LocalError, match="not a plain file"):
                read(odd, 4)


def test_a_file_of_somebody_else_is_read_where_nothing_hangs_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, 0o666)
    assert read_small(path, 5) == (b"12345", 0o666)
    with pytest.raises(LocalError, match="others than its owner may change it"):
        read_private(path, 5)
    path.chmod(0o644)
    give_away(path, monkeypatch)
    assert read_small(path, 5) == (b"12345", 0o644)
    with pytest.raises(LocalError, match="belongs to another user"):
        read_private(path, 5)


def test_a_file_that_is_swapped_as_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's file is opened, and ours is back before the name is looked at: what was opened counts."""
    path, real = small(tmp_path, 0o644), os.open
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"bad")
    theirs.chmod(0o666)
    monkeypatch.setattr(os, "open", lambda name, *arguments, **named: real(theirs if name == path else name, *arguments, **named))
    with pytest.raises(LocalError, match="mode 0666"):
        read_private(path, 5)
