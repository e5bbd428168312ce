"""Randomness that no library lets one choose: ML-KEM's encapsulations and ML-DSA's signatures, recorded once and used again ever after.

`recorded.json` has them by a hash of what they are for. `python -m tests.vectors.sealed_format.record` records what is missing and forgets
what nothing asks for any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.vectors.sealed_format.encoding import from_base64, sha256, to_base64

PATH = Path(__file__).parent.parent / "sealed" / "recorded.json"


class Recordings:
    """What is kept; while `recording`, what is missing is made."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = json.loads(PATH.read_bytes()) if PATH.exists() else {}
        self.used: dict[str, str] = {}
        self.recording = False

    def take(self, what: str, message: bytes, make: Callable[[], bytes]) -> bytes:
        """What `make` gave when it was called for `message` first."""
        name = f"{what} {sha256(message).hex()}"
        if self.recording and name not in self.kept:
            self.kept[name] = to_base64(make())
        if name not in self.kept:
            raise KeyError(f"{name} is not recorded: run python -m tests.vectors.sealed_format.record, then generate again")
        self.used[name] = self.kept[name]
        return from_base64(self.kept[name])


RECORDINGS = Recordings()
