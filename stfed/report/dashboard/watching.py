"""The runs in a folder, each kept up to date by what its event log has become since the last look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stfed.errors import MalformedError
from stfed.report.eventlog import NAME, lines
from stfed.report.run import Run

_DEPTH = 3


@dataclass(slots=True)
class Watched:
    """One run.

    Attributes:
        name: path of its folder, or of its log, under the folder that is watched.
        log: the event log.
        run: what is known of it.
        broken: why no more of it can be read.
    """

    name: str
    log: Path
    run: Run = field(default_factory=Run)
    broken: str | None = None
    _offset: int = 0

    def look(self) -> Run:
        """What is known now. A log that became shorter is another one, and is read from its beginning."""
        try:
            if self.log.stat().st_size < self._offset:
                self.run, self._offset, self.broken = Run(), 0, None
            if self.broken is None:
                new = lines(self.log, self._offset)
                for event in new:
                    self.run.take(event)
                    self._offset = new.offset
        except (MalformedError, OSError) as error:
            self.broken = str(error)
        return self.run


class Runs:
    """All runs in a folder and its folders, newest first.

    Args:
        folder: what is watched; a run's own folder does as well.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Watched] = {}

    def look(self) -> list[Watched]:
        """Those that are there now."""
        found = {name: log for log in _logs(self.folder, _DEPTH) if (name := _name(log.parent.relative_to(self.folder)))}
        self._known = {name: self._known.get(name) or Watched(name, log) for name, log in found.items()}
        for watched in self._known.values():
            watched.look()
        return sorted(self._known.values(), key=lambda one: one.run.start["time"] if one.run.start else 0.0, reverse=True)

    def named(self, name: str) -> Watched | None:
        """One of them, by a name that `look` gave: what is asked for is never made a path of."""
        watched = self._known.get(name)
        if watched is not None:
            watched.look()
        return watched


def _name(path: Path) -> str:
    """As text for a page or a terminal: a name that is no UTF-8 has its bytes written out."""
    return str(path).encode(errors="backslashreplace").decode()


def _logs(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / NAME).is_file():
        yield folder / NAME
    if depth:
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."))
        except OSError:
            return
        for name in inside:
            yield from _logs(folder / name, depth - 1)
