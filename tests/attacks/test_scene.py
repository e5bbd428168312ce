"""The scene itself: what is no refusal, or the wrong one, is seen; an attack that succeeds fails its test and the table."""

from pathlib import Path

import pytest

from stfed.sealed import MalformedError, TamperedError
from tests.attacks import __main__ as table
from tests.attacks.scene import ATTACKS, PLAIN, Attack, Scene


def nothing(scene: Scene) -> None:
    scene.opens(scene.sealed())


def other_weights(scene: Scene) -> None:
    scene.opens(scene.sealed(PLAIN[:-4] + b"\0\0\0\0"))


def cut(scene: Scene) -> None:
    scene.opens(scene.sealed()[:-1])


@pytest.mark.parametrize(
    ("act", "expect", "says", "complaint"),
    [
        (nothing, TamperedError, "", "not refused"),
        (other_weights, TamperedError, "", "a wrong tensor was released"),
        (cut, TamperedError, "", "refused with MalformedError"),
        (cut, MalformedError, "in another way", "cut off or extended"),
        (cut, None, "", "refused with"),
    ],
)
def test_an_attack_that_does_not_end_as_it_must(tmp_path: Path, act: object, expect: object, says: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        Attack("x", act, expect, says).run(tmp_path)  # type: ignore[arg-type]


def test_what_lies_beside_the_target_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    monkeypatch.setattr("tests.attacks.scene.load", lambda *_, **__: (tmp_path / "left over").write_bytes(b""))
    with pytest.raises(AssertionError, match="beside the target"):
        scene.opens(scene.sealed())


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert table.main("a header over the cap") == 0
    assert "MalformedError: not a safetensors file" in capsys.readouterr().out
    monkeypatch.setattr(table, "ATTACKS", [*ATTACKS, Attack("nothing at all", nothing, TamperedError, "")])
    assert table.main("nothing at all") == 1
    assert "!! not refused" in capsys.readouterr().out
    assert table.main("no such attack") == 1
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) > 100
