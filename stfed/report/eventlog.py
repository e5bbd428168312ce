"""Reading an event log, also one that is being written: only whole lines count, and what is no event is said, not guessed.

A log may come from elsewhere. Whoever gets an event from here may rely on the fields and types of `stfed.report.schema`, on numbers that
are finite and no larger than 1e300, and on texts that have a UTF-8 form. Fields and events of later versions go through; what a text says
may still steer a terminal, and is for whoever prints it to make harmless.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import sleep
from typing import Any

from stfed.errors import LocalError, MalformedError
from stfed.report import schema

Event = Mapping[str, Any]
NAME = "events.jsonl"
"""What `stfed run` calls it in the folder of a run."""
_POLL_S = 0.2
_LINE_MAX_BYTES = 64 << 20
"""A round of 100,000 parties that all dropped takes a third of it."""
_LARGEST = 1e300
"""Sums of such numbers are numbers still."""
_HALF = re.compile("[\ud800-\udfff]")
_MAY_HOLD_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")


def find(place: str | os.PathLike[str]) -> Path:
    """The event log: a file, or the one in a run's folder.

    Raises:
        LocalError: there is none.
    """
    path = Path(place)
    log = path / NAME if path.is_dir() else path
    if not log.is_file():
        raise LocalError(
            f"there is no event log {log}", hint="name a folder that `stfed run` made, or a file: SecureAggregation(events=...)"
        )
    return log


def name_of(place: str | os.PathLike[str]) -> str:
    """What a run is called: by its folder, or by its log if that has a name of its own.

    Raises:
        LocalError: there is no event log.
    """
    log = find(place).resolve()
    return log.parent.name if log.name == NAME else log.stem


def read(path: str | os.PathLike[str]) -> list[Event]:
    """All events that are there now. A last line without its end is one that is being written, and does not count yet.

    Raises:
        MalformedError: a line is no event.
        OSError: it cannot be read.
    """
    return list(lines(Path(path), 0))


def follow(path: str | os.PathLike[str], *, over: Callable[[], bool] = lambda: False, poll_s: float = _POLL_S) -> Iterator[Event]:
    """Events as they are written, those first that are there; until the run has ended.

    Args:
        path: the log; it may not be there yet.
        over: whether nothing more will come even if the run has not said that it ended; asked before each look.
        poll_s: how often to look.

    Raises:
        MalformedError: a line is no event.
    """
    file, offset = Path(path), 0
    while True:
        last = over()
        if file.exists():
            new = lines(file, offset)
            for event in new:
                yield event
                if event["event"] == "end":
                    return
            offset = new.offset
        if last:
            return
        sleep(poll_s)


class lines(Iterator[Event]):
    """The events from an offset on; afterwards `offset` is where the next one begins."""

    def __init__(self, path: Path, offset: int) -> None:
        self.offset: int = offset
        self._path = path
        self._events = self._read()

    def __next__(self) -> Event:
        return next(self._events)

    def _read(self) -> Iterator[Event]:
        with self._path.open("rb") as file:
            file.seek(self.offset)
            while True:
                line = file.readline(_LINE_MAX_BYTES)
                if len(line) == _LINE_MAX_BYTES:
                    raise MalformedError(f"{self._path}: a line of over {_LINE_MAX_BYTES >> 20} MiB is no event")
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                yield self._event(line)

    def _event(self, line: bytes) -> Event:
        try:
            event = json.loads(line.decode(), parse_int=_whole, parse_float=_finite, parse_constant=_finite)
            if _MAY_HOLD_HALVES.search(line):
                event = _in_whole_characters(event)
        except (ValueError, RecursionError):
            event = None
        if not (isinstance(event, dict) and isinstance(event.get("event"), str)):
            raise MalformedError(f"{self._path}: line {self._number()} is no event")
        if found := schema.wrong(event):
            raise MalformedError(f"{self._path}: line {self._number()} is no event as docs/events.md has them: {found[0]}")
        return event

    def _number(self) -> int:
        """Of the line that was read last, from 1."""
        with self._path.open("rb") as file:
            return file.read(self.offset).count(b"\n")


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not -_LARGEST <= value <= _LARGEST:  # not a number is not either
        raise ValueError(digits)
    return value


def _in_whole_characters(value: Any) -> Any:
    """With a mark in place of each half of a surrogate pair: a file name that is no UTF-8 gets into a failure's text so."""
    if isinstance(value, str):
        return _HALF.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_in_whole_characters(one) for one in value]
    if isinstance(value, dict):
        return {_in_whole_characters(name): _in_whole_characters(one) for name, one in value.items()}
    return value
