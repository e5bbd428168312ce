"""A round as a sequence diagram: party A on the left, the coordinator in the middle, party E, which is lost, on the right.

Words come from the messages themselves (`carries`), so that a message which no longer carries something is drawn without it.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.svg import ACCENTS, Picture
from stfed.secagg.messages import (
    Confirm,
    ConfirmRequest,
    Join,
    JoinRequest,
    Masked,
    Message,
    Prepare,
    PrepareRequest,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
)
from stfed.secagg.params import Mode
from tests.pictures.rounds import LOST, PARTIES, STAYS, Crossing, Round

_WIDTH, _LEFT, _MIDDLE, _RIGHT = 700.0, 84.0, 350.0, 616.0
_PARTY, _LEARNT, _GONE = ACCENTS[0], ACCENTS[2], ACCENTS[5]
_SMALL = 11.0
_HEADINGS = {
    "join": "JOIN, once an epoch",
    "prepare": "PREPARE",
    "train": "TRAIN",
    "confirm": "CONFIRM",
    "unmask": "UNMASK",
}


def name_of(party: int) -> str:
    """A letter."""
    return "ABCDE"[party]


def size_of(size_bytes: int) -> str:
    """A size as people write it."""
    return f"{size_bytes} bytes" if size_bytes < 1000 else f"{size_bytes / 1e6:.3f} MB"


class Names:
    """Who is who in a directory, which is in the order of the parties' identities."""

    def __init__(self, played: Round) -> None:
        joins = {party: crossing.message for (step, party), crossing in played.up.items() if step == "join"}
        order = sorted(joins, key=lambda party: joins[party].identity)
        self._names = {index: name_of(party) for index, party in enumerate(order)}

    def of(self, indices: Iterable[int]) -> str:
        """Names of directory indices, in their alphabetical order."""
        return ", ".join(sorted(self._names[index] for index in indices))


def carries(message: Message, names: Names) -> str:
    """What is in a message, in a line."""
    match message:
        case JoinRequest():
            return "take part in this run?"
        case Join():
            return "a fresh X25519 public key"
        case PrepareRequest():
            return f"{len(message.directory)} public keys; k = {message.k}, t = {message.t}; encoding"
        case Prepare():
            return f"{len(message.dealt)} × 2 encrypted shares, of b and z; box"
        case TrainRequest():
            return f"model; U1 = {names.of(message.alive)}; {len(message.deliveries)} × 2 shares"
        case Masked():
            return "masked vector y"
        case ConfirmRequest():
            return f"U2 = {names.of(message.survivors)}?"
        case Confirm():
            return "signature over U2 and T"
        case UnmaskRequest():
            signed = f"; {len(message.confirmations)} signatures" if message.confirmations else ""
            return f"U2 = {names.of(message.survivors)}{signed}"
        case Unmask():
            alive = sum(of is ShareOf.SELF_SEED for of, _ in message.shares)
            return f"shares: {alive} × of b, {len(message.shares) - alive} × of z"
        case _:
            raise TypeError(f"{type(message).__name__} has no words")


def learns(played: Round, step: str) -> tuple[str, ...]:
    """What the coordinator has learnt when a step is over, in lines."""
    first = "the coordinator learns"
    report, malicious = played.report, played.mode is Mode.MALICIOUS
    alive = ", ".join(name_of(party) for party in range(PARTIES) if (step, party) in played.up and played.up[step, party].arrived)
    match step:
        case "join":
            whose = "whose on the roster each of them is" if malicious else "who takes part"
            return (f"{first} public keys, made for this epoch, and {whose}",)
        case "prepare":
            return (f"{first} ciphertexts that it cannot open, and commitments; shares it passes on to their holders",)
        case "train":
            return (
                f"{first} of {alive}: vectors that look uniformly random, which it adds up",
                f"of {name_of(LOST)}: that it is lost. The masks that {alive} share with it are still in that sum",
            )
        case "confirm":
            signed = f"{len(report.confirmed)} signatures under one list"
            return (f"{first} {signed}; {report.quorum} of {report.n} are a quorum; a second list gets none",)
        case _:
            return (
                f"{first} b of {alive}, from {report.t} shares of each, and so their self masks",
                f"z of {name_of(LOST)}, which opens its box, and so the masks that it shared; never b and z of one party",
            )


def picture(played: Round) -> Picture:
    """The picture of a round."""
    names = Names(played)
    told = "; ".join(f"{_HEADINGS[step]}: {'; '.join(learns(played, step))}" for step in played.steps)
    height = 92 + sum(_height(played, step) for step in played.steps) + 56
    drawing = Picture(f"round-{played.mode.value}", _WIDTH, height, f"One round with five parties, {played.mode.value} mode", told)
    _heads(drawing)
    top = 92.0
    for step in played.steps:
        _step(drawing, played, names, step, top)
        top += _height(played, step)
    survivors = " + ".join(f"x of {name_of(party)}" for party in range(PARTIES) if ("unmask", party) in played.up)
    drawing.box(_MIDDLE - 210, height - 50, 420, 40, colour=_LEARNT, fill=0.14)
    drawing.text(_MIDDLE, height - 25, f"what is left is {survivors}", size=13, bold=True)
    return drawing


def _height(played: Round, step: str) -> float:
    return 130.0 + 16 * len(learns(played, step)) + (38 if step == "train" else 0)


def _heads(drawing: Picture) -> None:
    for x, name, more in (
        (_LEFT, f"party {name_of(STAYS)}", "B, C and D: the same"),
        (_MIDDLE, "coordinator", "carries every message"),
        (_RIGHT, f"party {name_of(LOST)}", "is lost while it trains"),
    ):
        drawing.box(x - 68, 10, 136, 48, colour=_PARTY if x != _MIDDLE else None)
        drawing.text(x, 31, name, size=14, bold=True)
        drawing.text(x, 48, more, size=_SMALL, faint=True)


def _step(drawing: Picture, played: Round, names: Names, step: str, top: float) -> None:
    """A step: its name, the lanes, requests, replies, and what the coordinator knows then."""
    drawing.text(14, top, _HEADINGS[step], size=13.5, bold=True, anchor="start")
    replies_at = top + (116 if step == "train" else 78)
    for x, party in ((_LEFT, STAYS), (_MIDDLE, None), (_RIGHT, LOST)):
        if party is None or (step, party) in played.down:
            drawing.line(x, top + 14, x, replies_at + 14, colour=_PARTY if x != _MIDDLE else None, faint=True)
    for party in (STAYS, LOST):
        if crossing := played.down.get((step, party)):
            _arrow(drawing, crossing, names, party, top + 34, down=True)
        if crossing := played.up.get((step, party)):
            _arrow(drawing, crossing, names, party, replies_at, down=False)
    if step == "train":
        drawing.box(_LEFT + 8, top + 58, 218, 26, colour=_PARTY)
        drawing.text(_LEFT + 117, top + 75, "trains; y = x + G(b, T) ± Σ G(s, T)", size=_SMALL)
    for at, line in enumerate(learns(played, step)):
        drawing.text(_MIDDLE, replies_at + 39 + 16 * at, line, size=_SMALL + 0.5, italic=True, colour=_LEARNT)


def _arrow(drawing: Picture, crossing: Crossing, names: Names, party: int, y: float, *, down: bool) -> None:
    """A message with its words above and its size below; one that never arrives ends in a cross."""
    lane, side = (_LEFT, -1) if party == STAYS else (_RIGHT, 1)
    here, there = (_MIDDLE + 4 * side, lane - 4 * side) if down else (lane - 4 * side, _MIDDLE + 4 * side)
    centre = (lane + _MIDDLE) / 2
    if crossing.arrived:
        drawing.line(here, y, there, y, head=True)
    else:
        drawing.line(here, y, centre, y, colour=_GONE, dashed=True)
        drawing.path(f"M {centre - 5:g} {y - 5:g} l 10 10 m 0 -10 l -10 10", colour=_GONE, width=2)
    drawing.text(centre, y - 7, carries(crossing.message, names), size=_SMALL)
    signed = "; signed" if crossing.message.signature else ""
    words = f"{size_of(crossing.size_bytes)}{signed}" if crossing.arrived else "never arrives"
    drawing.text(centre, y + 15, words, size=_SMALL - 0.5, faint=crossing.arrived, colour=None if crossing.arrived else _GONE)
