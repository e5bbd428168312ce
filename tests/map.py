"""The table of docs/contributing/tests.md: which folder proves what, with about how many tests. `python -m tests.map` writes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "contributing" / "tests.md"
_SPOT = re.compile(r"(<!-- computed -->\n).*?(<!-- end -->)", re.DOTALL)

PROVES = {
    ".": "what belongs to no room: the codec, files, errors; the public names; the book; that a release is what it should be",
    "attacks": "every attack on sealed files that we know of, a script each, refused with its own error; and those on the protocol, listed",
    "audit": "the log shows tampering, forks and rollbacks; proofs check without it; the formats are C2SP's",
    "bench": "the kit that times rounds gives the sums it says it times",
    "benchmarks": "every benchmark runs and its results are right, at small sizes; the numbers in the books are those of the reference run",
    "cli": "every command: output, exit codes, help, hints; docs/cli.md is complete and its blocks run",
    "crypto": "primitives against published vectors, their readable definitions and their fast paths against each other; Shamir; labels",
    "demo": "`stfed demo attack` shows what it says it shows",
    "deployment": "real SuperLinks and SuperNodes: kills, TLS, a hostile server, what crosses the wire and what stays in no file",
    "dp": "the accountant against exact arithmetic, the noise against its distribution, the budget that stops a run",
    "e2e": "the README's blocks, the diff, the demo, and the built wheel in an environment of its own",
    "encoding": "the mean is within its stated error for every dtype and setting; nothing but the sum depends on one party",
    "encrypted": "arithmetic on ciphertexts within its stated bounds; keys, files and messages",
    "examples": "every example runs on its real data, and its README says what it does",
    "flower": "strategies, mods and stores with Flower's real objects: every strategy, every drop, every setting",
    "formal": "a small round in every schedule, in a model that the real code is held against; lemmas in Z3",
    "hospitals": "the demo's data, training and every run file in configs/",
    "keys": "key files, passphrases, rosters and signatures, against age's vectors and damaged files",
    "keyserver": "no key against the policy and none without an entry in the log; the messages; a hostile client",
    "library": "`SafeTensorLibrary`: each line, whose key it takes, what recipients get",
    "pictures": "the book's diagrams are what the tables and one real round draw",
    "report": "reports and the dashboard say what the event log says; every event fits the schema",
    "sealed": "the file format: both readers against both writers, damage, lies, grants, shards, streaming, and the verbs of safetensors",
    "secagg": "the protocol: every state and event, every rule broken, recorded rounds, and a lying coordinator that tries everything",
    "testing": "the in-memory grid does what Flower's does, and its faults are what they say",
}
"""By folder; a test holds that each folder with tests is here."""


def counts() -> dict[str, int]:
    """How many test functions a folder has, those below it included. Parameters make more of them when they run."""
    found: dict[str, int] = {}
    for path in TESTS.rglob("test_*.py"):
        place = path.relative_to(TESTS).parts
        folder = place[0] if len(place) > 1 else "."
        functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
        found[folder] = found.get(folder, 0) + sum(node.name.startswith("test_") for node in functions)
    return found


def about(count: int) -> int:
    """To the next ten, so that the page does not change with every test."""
    return max(10, round(count, -1))


def table() -> str:
    """The rows, in the order of their names."""
    rows = [f"| `tests/{folder}` | {PROVES[folder]} | {about(count)} |" for folder, count in sorted(counts().items())]
    return "\n".join(["| folder | what it proves | tests, about |", "|---|---|---|", *rows]).replace("`tests/.`", "`tests/test_*.py`")


def written(page: str) -> str:
    """The page with its table anew."""
    return _SPOT.sub(lambda spot: f"{spot[1]}\n{table()}\n\n{spot[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
