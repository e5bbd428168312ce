"""`--help` of every command is quick: nothing heavy is imported to print it."""

from __future__ import annotations

import subprocess
import sys

from stfed import cli
from tests.cli.commands import ROOT
from tests.cli.test_docs import parsers

HEAVY = (
    "cryptography",
    "flwr",
    "httpx",
    "numpy",
    "rich",
    "safetensors",
    "sqlite3",
    "starlette",
    "tenseal",
    "torch",
    "uvicorn",
    "zstandard",
)
CODE = f"""
import sys
from stfed.cli import main
for command in sys.stdin.read().splitlines():
    assert main([*command.split()[1:], "--help"]) == 0, command
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    commands = "\n".join(parser.prog for parser in parsers(cli._parser()))
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, input=commands, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "usage: stfed audit cosign" in done.stdout
