"""The example that shows the attack: it works on plain updates, and not on secure ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.attack.__main__ import main


def test_the_attack_works_on_plain_updates_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    assert len(rows) == 5
    assert all(float(plain) > 0.999 and abs(float(secure)) < 0.6 for _, plain, secure in rows)
    assert "asks for a second answer" in said
    assert "the clinic answers" not in said
    assert (tmp_path / "attack.png").stat().st_size > 10_000


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["one", "two"]) == 2
    assert "usage:" in capsys.readouterr().err
