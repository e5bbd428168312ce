"""`stfed demo attack`: what it prints, writes and exits with, on real clinics and on clinics without a check."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stfed import cli
from stfed.demo import attack, lies
from stfed.secagg.roster import PartyRoster


def test_the_attack_finds_nothing_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["demo", "attack", "--out", str(tmp_path / "new" / "folder")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-2:] == [str(tmp_path / "new" / "folder" / name) for name in ("attack.html", "attack.json")]
    assert "It sees the image (correlation 1.000)." in out
    assert "note: the PNG is drawn with Matplotlib, which is not installed (pip install 'stfed[examples]')" in err
    assert json.loads((tmp_path / "new" / "folder" / "attack.json").read_text())["leaks"] == []


def test_clinics_that_believe_what_they_must_not_are_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PartyRoster, "member", lambda self, identity: identity.hex())
    monkeypatch.setattr(attack, "LIES", [lie for lie in lies.LIES if lie.tell is lies.invented])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "attack", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["leaks"] == ["in malicious mode a coordinator that invents four clinics finds its image"]
    assert "note: this must not be: in malicious mode a coordinator that invents four clinics" in err
    (png,) = (Path(name) for name in found["files"] if name.endswith(".png"))
    assert png.parent.parent == Path("runs")
    assert png.read_bytes()[:4] == b"\x89PNG"
