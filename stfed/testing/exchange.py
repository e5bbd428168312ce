"""One request to one party under its faults, and the record of everything that crossed for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from flwr.app import Message

from stfed.testing.faults import Action, Direction, Fault
from stfed.testing.node import SimulatedNode, error_for
from stfed.testing.parcel import Parcel, flip, pack, unpack


@dataclass(frozen=True)
class WireRecord:
    """One message that crossed, or was on its way when a fault ate it.

    Attributes:
        direction: "down" from the coordinator, "up" to it.
        node_id: the party at the other end.
        message_type: Flower's message type.
        step, round: what the grid's `describe` says that the request is.
        payload: every byte of it, as it left the coordinator or reached it; empty if the grid does not keep payloads.
        size_bytes: how many bytes those are.
        error: the reason, for an error reply.
        fault: the action of the fault that lost, changed, delayed or added it.
    """

    direction: Literal["down", "up"]
    node_id: int
    message_type: str
    step: str
    round: int
    payload: bytes = field(repr=False)
    size_bytes: int
    error: str | None = None
    fault: str | None = None


@dataclass
class Exchange:
    """A request, then, once `carry_out` has run, what came of it.

    Attributes:
        order: the place of the request among all that the grid ever sent.
        party: whom it is for.
        message_id: its Flower id.
        request: the request as sent; None once carried out.
        oldest: the oldest request of this step that this party was sent, for a replay.
        message_type, step, round: what it is.
        faults: what hits it.
        arrives_at_s: when its reply is there, on the grid's clock.
        keep_payloads: whether records keep the bytes.
        reply: the reply while it is on its way; None before, and after it was delivered or lost.
        surplus: answers to duplicates and replays.
        crossed: what crossed and is not yet in the grid's dump.
    """

    order: int
    party: SimulatedNode
    message_id: str
    request: Parcel | None
    oldest: Parcel
    message_type: str
    step: str
    round: int
    faults: tuple[Fault, ...]
    arrives_at_s: float
    keep_payloads: bool
    reply: Parcel | None = None
    surplus: list[Message] = field(default_factory=list)
    crossed: list[WireRecord] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether a reply may still come."""
        return self.request is not None or self.reply is not None

    def hit_by(self, action: Action, direction: Direction | None = None) -> Fault | None:
        """The first fault of this kind that hits it."""
        return next((fault for fault in self.faults if fault.action == action and direction in (None, fault.direction)), None)

    def send(self, *, gone: bool) -> None:
        """Puts the request on the wire; a party that is gone, or a `drop-request`, ends the exchange here."""
        assert self.request is not None
        lost = self.hit_by("drop-request")
        fault = lost or self.hit_by("tamper", "down")
        self._record("down", self.request, fault.action if fault else None)
        if gone or lost:
            self.request = None

    def carry_out(self, *, at_once: bool) -> None:
        """Lets the party work.

        Args:
            at_once: whether a duplicate reaches the party while it still works on the original.
        """
        request, self.request = self.request, None
        assert request is not None
        if fault := self.hit_by("tamper", "down"):
            request = flip(request, position=fault.position, xor=fault.xor, record=fault.record, key=fault.key)
        if fault := self.hit_by("error"):
            reply = pack(Message(error_for(RuntimeError(fault.reason)), reply_to=unpack(request)))
        elif not self.hit_by("duplicate"):
            reply = self.party.answer(request)
        elif at_once:
            meet = threading.Barrier(2)
            with ThreadPoolExecutor(2) as pool:
                first, second = [pool.submit(self.party.answer, request, at_start=meet.wait) for _ in range(2)]
            reply = first.result()
            self._extra("duplicate", request, second.result())
        else:
            reply = self.party.answer(request)
            self._extra("duplicate", request, self.party.answer(request))
        if self.hit_by("replay"):
            self._extra("replay", self.oldest, self.party.answer(self.oldest))
        self._come_back(reply)

    def _come_back(self, reply: Parcel) -> None:
        if fault := self.hit_by("tamper", "up"):
            reply = flip(reply, position=fault.position, xor=fault.xor, record=fault.record, key=fault.key)
        lost, late = self.hit_by("drop-reply"), self.hit_by("delay")
        fault = lost or late or fault or self.hit_by("error")
        self._record("up", reply, fault.action if fault else None)
        if late:
            self.arrives_at_s += late.delay_s
        if not lost:
            self.reply = reply

    def _extra(self, action: Action, request: Parcel, answer: Parcel) -> None:
        self._record("down", request, action)
        self._record("up", answer, action)
        self.surplus.append(unpack(answer))

    def _record(self, direction: Direction, parcel: Parcel, fault: str | None) -> None:
        message = unpack(parcel)
        record = WireRecord(
            direction=direction,
            node_id=self.party.node_id,
            message_type=self.message_type,
            step=self.step,
            round=self.round,
            payload=parcel.payload if self.keep_payloads else b"",
            size_bytes=parcel.size_bytes,
            error=message.error.reason if message.has_error() else None,
            fault=fault,
        )
        self.crossed.append(record)
