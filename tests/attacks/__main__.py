"""`python -m tests.attacks [WORD]`: all attacks, or those with WORD in their name, and how each one failed; 1 if one did not."""

import importlib
import sys
import tempfile
from pathlib import Path

from tests.attacks.scene import ATTACKS


def main(word: str = "") -> int:
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{module.stem}")
    chosen = [one for one in ATTACKS if word in one.name]
    width = max((len(one.name) for one in chosen), default=0)
    succeeded = 0
    for one in chosen:
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = one.run(Path(folder))
            except AssertionError as error:
                succeeded += 1
                outcome = f"!! {error}"
        print(f"{one.name:<{width}}  {outcome[:150]}")
    print(f"{len(chosen)} attacks, {succeeded} not refused as they must be")
    return 1 if succeeded or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
