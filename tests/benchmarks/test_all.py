"""`python -m benchmarks` runs sections apart, survives their failures and names missed targets; the README has the reference run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import picture, readme
from benchmarks.line import Line, Section

MODULE = """
import argparse, sys, time
from pathlib import Path
from benchmarks.line import Line, Section
options = argparse.ArgumentParser()
options.add_argument("--quick", action="store_true")
options.add_argument("--full", action="store_true")
options.add_argument("--json", type=Path)
options = options.parse_args()
{body}
"""
GOOD = """
lines = [Line("a", 3.0, "x", 2.0), Line("b", 1.0, "x", 2.0)]
sys.exit(Section("good", "a size", lines, {"full": options.full}, options.quick).emit(options.json))
"""
BODIES = {
    "good": GOOD,
    "wrong": 'sys.exit(Section("wrong", "a size", [Line("c", 1.0)], wrong=["it is off"]).emit(options.json))',
    "crashed": 'print("so far"); raise RuntimeError("a bug")',
    "silent": "pass",
    "late": GOOD.replace("sys.exit", "") + 'raise RuntimeError("a bug")',
    "hanging": "time.sleep(600)",
}


@pytest.fixture
def sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Real modules in a folder on the path, in place of the benchmarks'."""
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, body in BODIES.items():
        (folder / f"section_{name}.py").write_text(MODULE.format(body=body))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[2]}")
    found = {name: f"section_{name}" for name in BODIES}
    monkeypatch.setattr(command, "SECTIONS", found)
    monkeypatch.setattr(command, "FULL", ("good",))
    return found


def test_what_fails_is_named_and_the_rest_runs(tmp_path: Path, sections: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    names = ["crashed", "good", "silent", "wrong"]
    assert command.main(["--section", *names, "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "crashed: FAILED: exit code 1" in printed
    assert "silent: FAILED: exit code 0" in printed
    assert "WRONG: it is off" in printed
    *_, summary = printed.split("\n\n")
    assert summary.splitlines() == [
        "1 of 2 targets met",
        "  missed: good, a: 3 x (<= 2)",
        "  FAILED: crashed",
        "  FAILED: silent",
        "  WRONG: wrong",
    ]
    assert (tmp_path / "crashed.txt").read_text() == "so far\n"
    assert json.loads((tmp_path / "good.json").read_text())["section"] == "good"


def test_missed_targets_are_no_failure(tmp_path: Path, sections: dict[str, str]) -> None:
    assert command.main(["--section", "good", "--out", str(tmp_path)]) == 0


def test_quick_and_full_reach_the_sections(tmp_path: Path, sections: dict[str, str]) -> None:
    for quick, full, seen in ((True, False, (True, False)), (False, True, (False, True)), (True, True, (True, False))):
        outcome = command.run("good", sections["good"], tmp_path, quick=quick, full=full)
        assert outcome.section is not None
        assert (outcome.section.quick, outcome.section.data["full"]) == seen


def test_a_section_that_hangs_is_ended(tmp_path: Path, sections: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_LIMIT_S", 1.0)
    monkeypatch.setattr(command, "_GOODBYE_S", 3.0)  # in the background of a shell, Ctrl-C is ignored, here and in the section
    outcome = command.run("hanging", sections["hanging"], tmp_path)
    assert not outcome.right
    assert "stopped after 1 s" in outcome.failure


def test_a_stale_result_is_not_taken_for_a_new_one(tmp_path: Path, sections: dict[str, str]) -> None:
    command.run("good", sections["good"], tmp_path)
    (tmp_path / "good.json").rename(tmp_path / "silent.json")
    assert command.run("silent", sections["silent"], tmp_path).section is None


def test_a_result_counts_only_if_its_section_came_to_its_end(tmp_path: Path, sections: dict[str, str]) -> None:
    outcome = command.run("late", sections["late"], tmp_path)
    assert (tmp_path / "late.json").exists()
    assert not outcome.right
    assert "exit code 1" in outcome.failure


def test_every_section_is_a_module_with_a_place_in_the_readme() -> None:
    for module in command.SECTIONS.values():
        assert (Path(command.__file__).parent / f"{module.rpartition('.')[2]}.py").exists(), module
    for name in (*command.SECTIONS, readme.TARGETS):
        assert f"<!-- results: {name} -->" in readme.README.read_text()


def test_the_readme_has_the_figures_of_the_reference_run() -> None:
    text, kept = readme.README.read_text(), readme.reference()
    assert text == readme.written(text, kept), "run: python -m benchmarks.readme"
    for name, section in kept.items():
        assert not section["quick"]
        for plot in section["data"].get("plots", ()):
            assert (command.FOLDER / f"{name}-{plot['name']}.png").exists()


KEPT = Section("party", "1 party | 2", [Line("met", 1.0, "ns", 2.0), Line("missed", 3.0, "ns", 2.0, note="slow <here>")]).as_json()
SPOTS = "begin\n<!-- results: targets -->\nold\n<!-- end -->\nbetween\n<!-- results: party -->\n<!-- end -->\nend\n"


def test_tables_are_written_and_written_again() -> None:
    text = readme.written(SPOTS, {"party": KEPT})
    assert "1 of 2 targets are met." in text
    assert text.count("| missed | 3 ns | ≤ 2 | missed | slow &lt;here> |") == 2
    assert "1 party \\| 2. " in text
    assert "old" not in text
    assert text.startswith("begin\n")
    assert text.endswith("\nend\n")
    assert readme.written(text, {"party": KEPT}) == text
    assert "Not measured yet." in readme.written(text, {})
    with pytest.raises(ValueError, match="no place for scale"):
        readme.written(SPOTS, {"scale": KEPT})


def test_a_quick_or_wrong_run_is_no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "REFERENCE", tmp_path / "reference.json")
    file = tmp_path / "party.json"
    for changed in ({"quick": True}, {"wrong": ["off"]}):
        file.write_text(json.dumps({**KEPT, **changed}))
        with pytest.raises(ValueError, match="party is no reference"):
            readme.take(tmp_path)
    file.write_text(json.dumps(KEPT))
    assert readme.take(tmp_path) == {"party": KEPT}


def test_every_kind_of_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = {"name": "measured", "x": [1, 10], "y": [2.0, 20.0]}
    series = [
        [points, {**points, "name": "fit", "line": True}],
        [
            {"name": "theirs", "bars": True, "x": ["a", "b"], "y": [1.0, 2.0]},
            {"name": "ours", "bars": True, "x": ["a", "b"], "y": [3.0, 4.0]},
        ],
        [{"name": "one", "stack": True, "x": ["a", "b"], "y": [1.0, 2.0]}, {"name": "two", "stack": True, "x": ["a"], "y": [3.0]}],
    ]
    plots = [{"name": f"p{i}", "title": "t", "x": "x", "y": "y", "log": "xy" * (not i), "series": one} for i, one in enumerate(series)]
    section = Section("scale", "a size", [Line("a", 2.0, "x", 1.0), Line("b", 2.0, "x", 1.0, "more"), Line("c", 1.0)], {"plots": plots})
    files = list(picture.draw_all([("scale", section)], tmp_path))
    assert [file.name for file in files] == ["targets.png", "scale-p0.png", "scale-p1.png", "scale-p2.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_without_matplotlib_there_are_no_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    section = Section("scale", "a size", [Line("a", 2.0, "x", 1.0)])
    assert list(picture.draw_all([("scale", section)], tmp_path)) == []
    assert "matplotlib" not in sys.modules or not list(tmp_path.iterdir())
