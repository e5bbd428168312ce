"""`python -m tests.public`: what differs from the pinned surface; `--write` accepts it."""

from __future__ import annotations

import argparse
import difflib
import sys

from tests.public.surface import PINNED, text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.public", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make today's surface the pinned one")
    arguments = parser.parse_args()
    if arguments.write:
        PINNED.write_text(text())
        print(f"{PINNED.name}: {len(PINNED.read_text().splitlines()) - 1} names and members")
        return 0
    difference = list(difflib.unified_diff(PINNED.read_text().splitlines(), text().splitlines(), "pinned", "now", n=0, lineterm=""))
    print("\n".join(difference) or "nothing differs")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
