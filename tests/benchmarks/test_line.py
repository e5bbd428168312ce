"""A figure is judged, printed and kept the same way everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.line import Line, Section, number

TEXT = st.text(max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
LINES = st.builds(Line, TEXT, st.none() | NUMBER, TEXT, st.none() | NUMBER, st.sampled_from(["less", "more"]), TEXT)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (Line("a", 1.2, "ns", 1.25), "met"),
        (Line("a", 1.3, "ns", 1.25), "missed"),
        (Line("a", 20.0, "x", 20.0, "more"), "met"),
        (Line("a", 19.9, "x", 20.0, "more"), "missed"),
        (Line("a", 0.1 + 0.2, "x", 0.3), "met"),  # the last bit of a sum
        (Line("a", 5.0), ""),
        (Line("a", None, "x", 20.0, "more", "no GPU"), "not measured"),
        (Line("a", 0.0, "", 0.0), "met"),
    ],
)
def test_verdicts(line: Line, verdict: str) -> None:
    assert line.verdict == verdict
    assert line.met is {"met": True, "missed": False}.get(verdict)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.2345, "1.23"), (0.12345, "0.123"), (12.345, "12.3"), (123.6, "124"), (1234567.8, "1,234,568"), (2.0, "2"),
     (1e-5, "1e-05"), (float("inf"), "inf"), (-1.5, "-1.50"), (99.99, "100.0")],
)  # fmt: skip
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_section_is_one_aligned_table() -> None:
    lines = [
        Line("short", 1.0, "x", 2.0),
        Line("a longer name", 123456.0, "ns", None, note="why"),
        Line("none", None, "x", 3, "more", "no GPU"),
    ]
    assert str(Section("party", "a size", lines)).splitlines() == [
        "party: a size",
        "                 measured  target",
        "short                 1 x    <= 2  met",
        "a longer name  123,456 ns                        why",
        "none                    -    >= 3  not measured  no GPU",
    ]


@given(TEXT, TEXT, st.lists(LINES, max_size=4), st.booleans(), st.lists(TEXT, max_size=2))
def test_json_gives_back_the_section(name: str, title: str, lines: list[Line], quick: bool, wrong: list[str]) -> None:
    section = Section(name, title, lines, {"points": [1, 2]}, quick, wrong)
    assert Section.from_json(json.loads(json.dumps(section.as_json()))) == section


def test_only_a_wrong_result_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missed = [Line("far off", 1000.0, "s", 1.0), Line("none", None, "s", 1.0, note="no GPU")]
    file = tmp_path / "result.json"
    assert Section("scale", "a size", missed).emit(file) == 0
    kept = json.loads(file.read_text())
    assert [line["met"] for line in kept["lines"]] == [False, None]
    assert kept["machine"]["processors"] > 0
    assert kept["versions"]["numpy"]
    assert Section("scale", "a size", missed, wrong=["the mean is off"]).emit() == 1
    assert "WRONG: the mean is off" in capsys.readouterr().out


def test_what_is_no_number_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Section("scale", "a size", [Line("a", float("nan"))]).emit(tmp_path / "result.json")
