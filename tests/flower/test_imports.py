"""Flower's simulation imports a ServerApp and a ClientApp in two threads: nothing that both need is left to be imported by two at once."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ast, importlib, sys
from pathlib import Path

def eager():
    '''Packages of ours that import modules of their own as they are imported.'''
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        if name.startswith("stfed.") and path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            if any(isinstance(one, ast.ImportFrom) and (one.module or "").startswith(name + ".") for one in body):
                yield name

import stfed.flower
print(*eager())
importlib.import_module("stfed.flower." + sys.argv[1])
print(*eager())
"""


def packages(module: str) -> tuple[set[str], set[str]]:
    """Those that `stfed.flower` has loaded, and those that are loaded with a module of it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    return set(first.split()), set(second.split())


def test_packages_that_both_sides_need_are_loaded_before_their_modules() -> None:
    (loaded, party), (_, coordinator) = packages("mod"), packages("strategy")
    assert "stfed.keys" in loaded
    assert party & coordinator <= loaded
