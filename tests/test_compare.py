"""docs/compare.md: every source is listed and used, every command is one, and what can be checked of an installed peer is so."""

from __future__ import annotations

import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

import flwr.clientapp.mod
from flwr.client.mod import secaggplus_mod
from flwr.server.workflow import SecAggPlusWorkflow

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compare.md").read_text()
BODY, LIST = PAGE.split("\n## Sources\n")


def test_every_source_is_listed_and_used() -> None:
    used = {label for group in re.findall(r"\[([A-Z]\d(?:, [A-Z]\d)*)\]", BODY) for label in group.split(", ")}
    listed = re.findall(r"^\| ([A-Z]\d) \| \S", LIST, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert used == set(listed)


def test_every_row_has_a_cell_for_everybody() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", BODY, re.MULTILINE):
        assert len({line.count(" | ") for line in table.replace("| | ", "|  | ").splitlines() if not line.startswith("|--")}) == 1, table


def test_every_command_exists() -> None:
    commands = re.findall(r"`python -m (benchmarks\.\w+)`", BODY)
    assert len(commands) >= 8
    assert all(importlib.util.find_spec(command) for command in commands)


def test_what_the_page_says_of_flower_is_what_this_flower_does() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(SecAggPlusWorkflow).parameters.items()}
    assert defaults["num_shares"] is defaults["reconstruction_threshold"] is inspect.Parameter.empty
    assert (defaults["clipping_range"], defaults["quantization_range"], defaults["timeout"]) == (8.0, 2**22, None)
    said = re.sub(r"\s+", " ", SecAggPlusWorkflow.__doc__ or "").lower()
    for quote in re.findall(r'"([^"]+)"[^|"]*\[F1\]', BODY):
        assert quote in said, quote
    assert secaggplus_mod is not None
    assert not hasattr(flwr.clientapp.mod, "secaggplus_mod")


def test_what_the_page_says_is_needed_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert {"flwr>=1.41,<2", "cryptography>=50,<51"} <= set(project["dependencies"])
    assert "needs Python 3.11, Flower 1.41 or newer, and `cryptography` 50" in BODY
