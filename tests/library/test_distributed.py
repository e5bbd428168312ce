"""Where copies for recipients go, and that all of them are written or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stfed.errors import LocalError
from stfed.library.addressees import Addressee
from stfed.library.distributed import Copy, Distributed, targets, write
from tests.library.homes import identities

MANIFEST: Any = None  # of a file that nobody opens here


def copy(name: str, data: bytes = b"data") -> Copy:
    return Copy((Addressee(name, identities()[0].recipient),), MANIFEST, "", memoryview(data))


def distributed(*names: str, separate: bool = True) -> Distributed:
    return Distributed("scan.safetensors", tuple(map(copy, names)), separate, readable=False)


def test_one_file_goes_where_it_is_told(tmp_path: Path) -> None:
    one = distributed("north", separate=False)
    assert targets(one, tmp_path / "out.safetensors") == [tmp_path / "out.safetensors"]
    with pytest.raises(LocalError, match="is a folder"):
        targets(one, tmp_path)


def test_separate_files_go_into_a_folder_or_to_a_pattern(tmp_path: Path) -> None:
    many = distributed("north", "south")
    assert targets(many, tmp_path) == [tmp_path / "scan-north.safetensors", tmp_path / "scan-south.safetensors"]
    assert targets(many, str(tmp_path / "to-{recipient}.bin")) == [tmp_path / "to-north.bin", tmp_path / "to-south.bin"]
    with pytest.raises(LocalError, match="is no folder"):
        targets(many, tmp_path / "out.safetensors")


def test_separate_files_replace_nothing(tmp_path: Path) -> None:
    (tmp_path / "scan-south.safetensors").write_bytes(b"old")
    with pytest.raises(LocalError, match="replace nothing"):
        targets(distributed("north", "south"), tmp_path)


def test_a_name_is_never_a_way_out_of_the_folder(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "..", "/", "Klinik Süd", "a/b", "a?b", "CASE", "case"]
    found = targets(distributed(*names), tmp_path)
    assert {path.parent for path in found} == {tmp_path}
    assert len({path.name.casefold() for path in found}) == len(names)
    assert found[3].name == "scan-Klinik_Süd.safetensors"
    with pytest.raises(LocalError, match="cannot be told apart"):
        targets(distributed("a/b", "a?b", "a_b-2"), tmp_path)


def test_all_or_none(tmp_path: Path) -> None:
    copies = [copy("north", b"1"), copy("south", b"2")]
    places = [tmp_path / "north", tmp_path / "missing" / "south"]
    with pytest.raises(LocalError, match="no folder"):
        write(copies, places)
    assert not list(tmp_path.iterdir())
    (tmp_path / "missing").mkdir()
    write(copies, places)
    assert [place.read_bytes() for place in places] == [b"1", b"2"]
    assert all(place.stat().st_mode & 0o777 == 0o600 for place in places)


def test_its_text_says_what_recipients_can_do() -> None:
    text = repr(distributed("north", "south"))
    assert "north, south" in text
    assert "cannot decrypt" in text
    assert "a file for each" in text
    assert "can read" in repr(Distributed("x", (copy("north"),), separate=False, readable=True))
