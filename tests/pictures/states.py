"""State diagrams, from the tables that client and server are tested against (`stfed.secagg.transitions`).

Where a state is on the paper is here; which states there are, what leads from one to the next, and by which event is in the tables. An
event that does the same in every state is drawn once, dashed, in place of an arrow from everywhere. The states that have no other event are
those between two rounds, and the event that begins the next round is drawn from them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from benchmarks.svg import ACCENTS, Picture
from stfed.secagg.client import Confirmed, Joined, Prepared, Ready, Trained, Training
from stfed.secagg.params import Mode
from stfed.secagg.server import Collecting, Confirming, Enrolment, Joining, Preparing, Sum, Unmasking
from stfed.secagg.transitions import CLIENT, SERVER, Event

Table = Mapping[type, Mapping[Any, type]]
Arrow = tuple[type, Enum, type]
"""State, event, the state that follows."""

_WIDTH, _BOX_WIDTH, _BOX_HEIGHT = 700.0, 112.0, 40.0
_ONLY_MALICIOUS = ACCENTS[1]
_PARTY_AT: Mapping[type, tuple[float, float]] = {
    Joined: (76, 104),
    Prepared: (350, 104),
    Training: (624, 104),
    Trained: (624, 234),
    Confirmed: (350, 234),
    Ready: (76, 234),
}
_STEP_WIDTH = 92.0
_STEP_ROWS: tuple[tuple[type, ...], ...] = ((Joining, Enrolment), (Preparing, Collecting, Confirming, Unmasking, Sum))
_CALLS = {"add": "reply", "fail": "error reply", "complain": "complaint"}


def everywhere(table: Table) -> dict[Enum, type]:
    """Events that every state takes, and to the same state."""
    first = next(iter(table.values()))
    return {event: to for event, to in first.items() if all(events.get(event) is to for events in table.values())}


def drawn(table: Table) -> Iterator[Arrow]:
    """The arrows of a table that are drawn one by one."""
    anywhere = everywhere(table)
    for state, events in table.items():
        own = {event: to for event, to in events.items() if event not in anywhere}
        onward = {event: to for event, to in anywhere.items() if event is Event.PREPARE}
        for event, to in (own or onward).items():
            yield state, event, to


def party(mode: Mode) -> Picture:
    """The states of a party."""
    table = CLIENT[mode]
    told = "; ".join(f"{state.__name__}, {event.value}: {to.__name__}" for state, event, to in drawn(table))
    anywhere = everywhere(table)
    told += "".join(f"; from every state, {event.value}: {to.__name__}" for event, to in anywhere.items())
    picture = Picture(f"party-{mode.value}", _WIDTH, 290, f"The states of a party, {mode.value} mode", told)
    for event, to in anywhere.items():
        x, y = _PARTY_AT[to]
        picture.text(x if x > 100 else 20, 20, f"{event.value}, in every state:", bold=True, anchor="start" if x < 100 else "middle")
        words = "a later epoch; starts over" if event is Event.JOIN else "a later round; gives up an open one"
        picture.text(x if x > 100 else 20, 37, words, faint=True, anchor="start" if x < 100 else "middle")
        picture.line(x, 46, x, y - _BOX_HEIGHT / 2 - 2, head=True, dashed=True)
    for state, event, to in drawn(table):
        _party_arrow(picture, state, event, to)
    for state in table:
        x, y = _PARTY_AT[state]
        colour = _ONLY_MALICIOUS if state not in CLIENT[Mode.SEMI_HONEST] else None
        picture.box(x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2, _BOX_WIDTH, _BOX_HEIGHT, colour=colour)
        picture.text(x, y + 4.5, state.__name__, size=14, bold=True)
    return picture


def _party_arrow(picture: Picture, state: type, event: Enum, to: type) -> None:
    (x1, y1), (x2, y2) = _PARTY_AT[state], _PARTY_AT[to]
    colour = _ONLY_MALICIOUS if event is Event.CONFIRM else None
    half, high = _BOX_WIDTH / 2 + 2, _BOX_HEIGHT / 2 + 2
    if y1 == y2:
        side = 1 if x2 > x1 else -1
        picture.line(x1 + side * half, y1, x2 - side * half, y2, colour=colour, head=True)
        picture.text((x1 + x2) / 2, y1 - 8, event.value, bold=True, colour=colour)
    elif x1 == x2:
        side = 1 if y2 > y1 else -1
        picture.line(x1, y1 + side * high, x2, y2 - side * high, colour=colour, head=True)
        picture.text(x1 - 10, (y1 + y2) / 2 + 4, event.value, bold=True, anchor="end", colour=colour)
    else:
        picture.line(x1 + _BOX_WIDTH / 4, y1 - high, x2 - half + 18, y2 + high, colour=colour, head=True)
        picture.text((x1 + x2) / 2 + 14, (y1 + y2) / 2 + 14, event.value, bold=True, anchor="start", colour=colour)


def coordinator(mode: Mode) -> Picture:
    """The steps of the coordinator."""
    table: Table = SERVER[mode]
    told = "; ".join(f"{state.__name__}, {event.name}: {to.__name__}" for state, events in table.items() for event, to in events.items())
    picture = Picture(f"coordinator-{mode.value}", _WIDTH, 286, f"The steps of the coordinator, {mode.value} mode", told)
    known = {*table, *(to for events in table.values() for to in events.values())}
    for row, states in enumerate(_STEP_ROWS):
        y = 76.0 + 120 * row
        picture.text(14, y - 48, "once an epoch" if row == 0 else "for every sum", anchor="start", faint=True)
        present = [state for state in states if state in known]
        places = {state: 14 + _STEP_WIDTH / 2 + 145 * at for at, state in enumerate(present)}
        for state, x in places.items():
            colour = _ONLY_MALICIOUS if state is Confirming else None
            _step(picture, state, x, y, table.get(state, {}), colour)
            for event, to in table.get(state, {}).items():
                if to is not state:
                    accent = _ONLY_MALICIOUS if event.value == "confirm" else None
                    picture.line(x + _STEP_WIDTH / 2 + 2, y, places[to] - _STEP_WIDTH / 2 - 2, y, head=True, colour=accent)
                    picture.text((x + places[to]) / 2, y - 8, event.value, size=11.5, bold=True, colour=accent)
    return picture


def _step(picture: Picture, state: type, x: float, y: float, events: Mapping[Any, type], colour: str | None) -> None:
    """A step, and below it what it takes without leaving; what takes nothing is a result, and has no fill."""
    picture.box(x - _STEP_WIDTH / 2, y - 19, _STEP_WIDTH, 38, colour=colour, fill=0.06 if events else 0, line=1.4 if events else 1)
    picture.text(x, y + 4.5, state.__name__, size=13.5, bold=bool(events))
    stays = [_CALLS[event.value] for event, to in events.items() if to is state]
    if stays:
        picture.path(f"M {x - 14:g} {y + 21:g} C {x - 22:g} {y + 40:g} {x + 22:g} {y + 40:g} {x + 14:g} {y + 21:g}", head=True, faint=True)
        for at, words in enumerate(stays):
            picture.text(x, y + 49 + 13 * at, words, size=11, faint=True)
