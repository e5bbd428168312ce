"""`python -m tests.attacks [WORD]`: all attacks, or those with WORD in their name, and how each one failed; 1 if one did not."""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.scene import ATTACKS, Attack
from tests.attacks.secagg import page


def main(word: str = "") -> int:
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{module.stem}")
    attacks: list[tuple[str, Callable[[], str]]] = [(one.name, lambda one=one: _on_files(one)) for one in ATTACKS]  # type: ignore[misc]
    attacks += [(page.name_of(one), one.refused) for one in page.load()]
    chosen = [(name, run) for name, run in attacks if word in name]
    width = max((len(name) for name, _ in chosen), default=0)
    succeeded = 0
    with _quiet():
        for name, run in chosen:
            try:
                outcome = run()
            except AssertionError as error:
                succeeded += 1
                outcome = f"!! {error}"
            print(f"{name:<{width}}  {outcome[:150]}")
    print(f"{len(chosen)} attacks, {succeeded} not refused as they must be")
    return 1 if succeeded or not chosen else 0


def _on_files(attack: Attack) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return attack.run(Path(folder))


@contextmanager
def _quiet() -> Iterator[None]:
    """What the parties under attack log is their owners' business."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
