"""Writes all vectors again: `python -m tests.vectors.generate`, or with `--check` compares them with what is there and writes nothing.

Each `gen_<area>.py` here has a function `generate()` that maps file names, relative to this folder, to contents. Files of other origin
(published vectors) stay as they are.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def generated() -> Iterator[tuple[Path, bytes]]:
    for module in sorted(HERE.glob("gen_*.py")):
        for name, content in importlib.import_module(f"{__package__}.{module.stem}").generate().items():
            yield HERE / name, content


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vectors.generate", description="Write all test vectors again.")
    parser.add_argument("--check", action="store_true", help="compare only; exit with 1 if a file would change")
    check = parser.parse_args(arguments).check
    changed = [(path, content) for path, content in generated() if not path.exists() or path.read_bytes() != content]
    for path, content in changed:
        print(f"{'differs' if check else 'written'}: {path.relative_to(HERE)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if not changed:
        print("all vectors are what their generators write")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
