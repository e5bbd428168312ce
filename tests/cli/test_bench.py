"""`stfed bench`: what it says of a small round, and what it refuses. No figure is judged here."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from stfed import cli
from stfed.bench import rates, round
from stfed.bench.rates import Rates
from stfed.cli import bench


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates are tested where they are made."""
    monkeypatch.setattr(rates, "measure", lambda: Rates(*(0.5 for _ in fields(Rates))))


def test_the_page_names_limits_steps_and_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--parties", "10", "--params", "500", "--dropout", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert max(map(len, lines)) <= 82
    assert "  a mask: keystream and addition      0.500     8.0      200%  party" in lines
    assert any(line.startswith("  opening, all of it checked") for line in lines)
    assert [line[2:12].strip() for line in lines if line.startswith("  ")][-12:-3] == [
        "JOIN", "PREPARE", "hash of th", "TRAIN, its", "encoding a", "adding the", "UNMASK, it", "taking the", "decoding t",
    ]  # fmt: skip
    assert lines[-2].startswith("A round of 10 parties x 500 parameters: party ")
    assert "2 dropped after PREPARE" in out


def test_quick_sizes_are_those_of_the_help_unless_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--quick", "--params", "64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["round"]["n"], found["round"]["parameters"], found["round"]["dropped"]) == (10, 64, 1)
    assert set(found["rates"]) == {field.name for field in fields(Rates)}
    assert found["bytes_down"] > 4 * 64
    assert found["bytes_up"] > found["round"]["upload_bytes"] > 4 * 64
    assert found["party_s"] > 0
    assert found["coordinator_s"] > 0


def test_a_wrong_mean_is_a_failure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = round.decode_sum

    def off(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        next(iter(found.arrays.values()))[0] += 1  # type: ignore[index]
        return found

    monkeypatch.setattr(round, "decode_sum", off)
    assert cli.main(["bench", "--parties", "4", "--params", "20", "--dropout", "0"]) == 1
    assert "the mean is off by 1.00e+00" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"), [(["--params", "0"], "no 0 parameters"), (["--dropout", "1"], "a share of 1.0"), (["--parties", "1"], "part")]
)
def test_what_cannot_be_measured_is_refused_at_once(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *options]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("params", [26, 99_999_999_999_999_999_999, 10**4000], ids=["26", "20 digits", "4000 digits"])
def test_what_does_not_fit_into_memory_is_refused_before_anything_is_made(
    params: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_memory_bytes", lambda: 1000)
    monkeypatch.setattr(round, "run_round", lambda *_: pytest.fail("a round began"))
    assert cli.main(["bench", "--parties", "4", "--params", str(params)]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert f"{-(-params * 40 // 10**9):,} GB of memory, there are 0 GB" in error
    assert hint == "hint: give --params 25 or fewer"


def test_how_much_memory_there_is() -> None:
    assert 10**8 < bench._memory_bytes() < 10**15
