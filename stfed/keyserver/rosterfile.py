"""The roster of a running key service: what the file says at this moment, read at every release, so that a revocation counts at once."""

from __future__ import annotations

import os
from pathlib import Path

from stfed.errors import LocalError, about
from stfed.keys import roster_toml
from stfed.keys.roster import Roster
from stfed.keys.smallfile import read_private


class RosterFile:
    """A roster on the disk. Its bytes are read each time, and parsed anew only if they differ: no file time can hide a change.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._known: tuple[bytes, Roster] | None = None

    def read(self) -> Roster:
        """The roster as it is now. Any thread may call this.

        Raises:
            LocalError: there is no such file, it cannot be read, or somebody else may change or replace it.
            MalformedError: it is no roster. What it said before does not count any more.
        """
        try:
            data = read_private(self.path, roster_toml.MAX_BYTES)
        except OSError as error:
            raise LocalError(f"the roster {self.path} cannot be read: {error.strerror}") from None
        known = self._known
        if known is None or known[0] != data:
            with about(f"{self.path} is no roster"):
                self._known = known = (data, Roster.from_toml(data))
        return known[1]
