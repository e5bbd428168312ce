"""One line on stderr for whoever waits for a benchmark."""

from __future__ import annotations

import sys


def progress(text: str) -> None:
    """One line for whoever is waiting; results go to the standard output and nowhere else."""
    print(text, file=sys.stderr, flush=True)
