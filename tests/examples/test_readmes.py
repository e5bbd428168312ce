"""The examples' READMEs: every command in a bash block is one that a test runs, and what they say about files and lines is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from flwr.common.config import parse_config_args

from stfed.cli import make_parser

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGES = {path.parent.name: path for path in sorted(EXAMPLES.glob("*/README.md"))}

# Pages whose blocks are run as they are, and the test that does it.
WHOLE = {"checkpoint": "tests/examples/test_checkpoint.py::test_the_commands_of_the_page_run"}

# Which test runs a command, or the same with fewer parties and rounds. A command belongs to the longest beginning that fits.
COVERED = {
    "flwr run": "the app of the page, on Flower's simulation runtime or in memory: APPS",
    "make": "looked up here",
    "python -m examples.analytics": "tests/flower/test_analytics.py::test_the_example_is_numpy_on_the_real_rows_and_draws_its_picture",
    "python -m examples.checkpoint": "tests/examples/test_checkpoint.py::test_every_step_holds",
    "python -m examples.deployment": "tests/deployment/test_deployment.py::test_the_deployment_demo_holds",
    "python -m examples.digits": "tests/examples/test_digits.py::test_the_secure_run_is_the_plain_one_and_leaves_sealed_models",
    "python -m examples.encrypted_inference": "tests/encrypted/test_inference_example.py::"
    "test_encrypted_scores_are_the_plain_ones_within_their_error_and_as_accurate",
    "python -m examples.hospitals configs": "tests/e2e/test_demo.py::test_the_demo_runs_equals_plain_fedavg_and_leaves_sealed_models",
    "python -m examples.hospitals.compare": "tests/hospitals/test_compare.py::test_the_command_prints_both",
    "python -m examples.lora": "tests/examples/test_lora.py::test_the_demo_runs_and_its_sealed_adapter_is_opened_as_the_page_says",
    "python -m fieldnotes.base": "tests/examples/test_lora.py::test_the_base_is_made_from_the_apps_folder",
    "python -m examples.scikit": "tests/examples/test_scikit.py::test_scaler_and_model_are_those_of_all_rows_in_one_place",
    "stfed keygen": "tests/cli/test_docs.py::test_the_blocks_run",
    "stfed open": "tests/cli/test_docs.py::test_the_blocks_run",
    "stfed run configs": "tests/hospitals/test_configs.py::test_a_config_runs_its_recipe",
    "stfed run examples/digits": "tests/examples/test_digits.py::test_the_secure_run_is_the_plain_one_and_leaves_sealed_models",
}
APPS = {
    "analytics": "tests/flower/test_analytics.py::test_the_example_is_numpy_on_the_real_rows_and_draws_its_picture",
    "digits": "tests/examples/test_digits.py::test_the_secure_run_is_the_plain_one_and_leaves_sealed_models",
    "lora": "tests/examples/test_lora.py::test_the_demo_runs_and_its_sealed_adapter_is_opened_as_the_page_says",
    "plain": "tests/e2e/test_adoption.py::test_the_plain_app_and_the_secure_one_give_the_same_model",
    "scikit": "tests/examples/test_scikit.py::test_scaler_and_model_are_those_of_all_rows_in_one_place",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not re.match(r"#|\w+=", line)]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_is_one_that_a_test_runs(name: str) -> None:
    for command in commands(PAGES[name]) if name not in WHOLE else []:
        start = max((start for start in COVERED if command.startswith(start)), key=len, default=None)
        assert start is not None, f"{name}: no test runs {command!r}; name one in COVERED, or write ```sh"
        words = shlex.split(command)
        if start == "flwr run":
            assert name in APPS, f"{name}: which test runs this app?"
            check_flower_command(EXAMPLES / name, words)
        elif start == "make":
            subprocess.run(["make", "--dry-run", words[1]], cwd=ROOT, capture_output=True, check=True)
        elif words[0] == "stfed":
            make_parser().parse_args(words[1:])
        for file in (word for word in words if word.endswith(".toml")):
            assert (ROOT / file).exists(), f"{name}: there is no {file}"


def check_flower_command(app: Path, words: list[str]) -> None:
    """The app is there, and takes these settings, in this form."""
    assert (ROOT / words[2] if words[2] != "." else app) == app
    known = tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    given = [parse_config_args([value]) for option, value in pairwise(words) if option == "--run-config"]
    assert all(config.keys() <= known.keys() for config in given)


@pytest.mark.parametrize("test", sorted({*COVERED.values(), *APPS.values(), *WHOLE.values()}))
def test_the_tests_that_are_named_are_there(test: str) -> None:
    file, _, function = test.partition("::")
    if function:
        assert f"def {function}(" in (ROOT / file).read_text()


def test_lines_that_a_page_shows_are_in_the_files() -> None:
    for name, file in (("scikit", "labs/task.py"), ("checkpoint", "steps.py")):
        (block,) = blocks(PAGES[name], "python")
        assert block in (EXAMPLES / name / file).read_text()
    (diff,) = blocks(PAGES["digits"], "diff")
    shown = ""
    for line in diff.splitlines():
        if line.startswith("+++"):
            shown = (EXAMPLES / "digits" / line.removeprefix("+++ b/")).read_text()
        elif line.startswith("+"):
            assert f"\n{line[1:]}\n" in shown
        elif not line.startswith("---"):
            assert f"\n{line[1:]}\n" not in shown, "what was there before is gone"


@pytest.mark.parametrize("page", [EXAMPLES / "README.md", *PAGES.values()], ids=lambda page: page.parent.name)
def test_links_lead_somewhere_and_trees_name_files(page: Path) -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
    folders = [page.parent]
    for depth, file in re.findall(r"^((?:[│ ] {3})*)[├└]── ([\w.]+)", "\n".join(blocks(page, "shell")), re.MULTILINE):
        folders = folders[: len(depth) // 4 + 1]
        assert (folders[-1] / file).exists(), file
        folders.append(folders[-1] / file)


def test_the_index_names_every_example() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(\1/README\.md\) \|.*\|.*\|.*\|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(PAGES)
