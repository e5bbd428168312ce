"""How far a step of a round is, told to the event log while it goes on: counts only, so nothing about a single party."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from stfed.flower.events import EventLog, RoundReport

_TELL_S = 1.0
"""Replies may come in by the thousand; nobody who watches needs more than a line a second."""


class TimedStep:
    """One step, for as long as the `with` block lasts; it takes its time into the report too.

    The event `step` is written when it begins, at most once a second while replies come in, and when it is over.

    Args:
        events: where it is told.
        report: of the round, or of the JOIN before it.
        name: join, prepare, train, confirm, unmask or sum; of an encrypted sum train or decrypt.
        asked: how many parties are asked; 0 where the coordinator works by itself.
        now: tells the time.
    """

    def __init__(self, events: EventLog, report: RoundReport, name: str, asked: int, now: Callable[[], float]) -> None:
        self._events, self._report, self._name, self._asked, self._now = events, report, name, asked, now
        self._answered, self._began_s, self._told_s = 0, 0.0, 0.0

    def __enter__(self) -> Self:
        self._began_s = self._now()
        self._tell(None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seconds = self._now() - self._began_s
        self._report.seconds[self._name] = self._report.seconds.get(self._name, 0.0) + seconds
        self._tell(round(seconds, 4))

    def answered(self) -> None:
        """A reply has come in, an error among them."""
        self._answered += 1
        if self._now() - self._told_s >= _TELL_S:
            self._tell(None)

    def _tell(self, seconds: float | None) -> None:
        report, self._told_s = self._report, self._now()
        self._events.emit(
            "step",
            phase=report.phase,
            server_round=report.server_round,
            group=report.group,
            round=report.round,
            step=self._name,
            asked=self._asked,
            answered=self._answered,
            bytes_down=report.bytes_down[self._name],
            bytes_up=report.bytes_up[self._name],
            seconds=seconds,
        )
