"""Which modules are public, and which names of theirs.

A module is public if README.md or docs/ show an import from it, or the reference in docs/reference/ shows it. Everything else may change
without notice. `__all__` says which names; where there is none, what the module itself defines and does not begin with an underscore.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from functools import cache
from pathlib import Path
from types import ModuleType

MODULES = (
    "stfed",
    *("stfed.flower", "stfed.flower.settings", "stfed.flower.events", "stfed.flower.ckks", "stfed.secagg.policy", "stfed.dp"),
    *("stfed.flower.analytics", "stfed.flower.analytics.results"),
    *("stfed.keys", "stfed.audit"),
    *("stfed.sealed", "stfed.sealed.numpy", "stfed.sealed.torch", "stfed.sealed.streaming", "stfed.sealed.shards", "stfed.sealed.options"),
    *("stfed.keyserver", "stfed.encrypted", "stfed.library"),
    *("stfed.report.eventlog", "stfed.report.run", "stfed.report.making", "stfed.testing", "stfed.errors"),
)


def is_ours(value: object) -> bool:
    """Whether a class or function is defined in stfed."""
    module = getattr(value, "__module__", None)
    return isinstance(module, str) and (module == "stfed" or module.startswith("stfed."))


@cache
def tree_of(module: ModuleType) -> ast.Module:
    """Its source, parsed."""
    return ast.parse(inspect.getsource(module))


def names_of(module: ModuleType) -> list[str]:
    """Its public names, sorted."""
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return sorted(declared)
    found = set[str]()
    for node in tree_of(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return sorted(name for name in found if not name.startswith("_"))


def shown() -> list[str]:
    """What the reference in docs/ shows: modules, and single names of others."""
    pages = sorted((Path(__file__).parents[2] / "docs" / "reference").glob("*.md"))
    lines = [line for page in pages for line in page.read_text().splitlines()]
    return [line.removeprefix("::: ").strip() for line in lines if line.startswith("::: ")]


def is_module(name: str) -> bool:
    """Whether there is a module of this name."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what stands before the last dot is a module without others in it
        return False


def public() -> list[tuple[str, str, object]]:
    """Every public name: its module, the name and what it stands for; those of `MODULES` first, then what only the reference shows."""
    names = dict.fromkeys([*MODULES, *filter(is_module, shown())])
    modules = [importlib.import_module(name) for name in names]
    found = [(module.__name__, name, getattr(module, name)) for module in modules for name in names_of(module)]
    seen = [value for _, _, value in found]
    for target in shown():
        module, _, name = target.rpartition(".")
        if target not in names and not any(getattr(importlib.import_module(module), name) is value for value in seen):
            found.append((module, name, getattr(importlib.import_module(module), name)))
    return found
