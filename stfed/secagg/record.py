"""What a party's store holds of a run: its state, what it answered already, and the encoding that the run has settled on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from stfed.secagg import client
from stfed.secagg.client import ClientState
from stfed.secagg.messages import Kind, Phase
from stfed.wire import Reader, Writer

_MAX_RECORD_BYTES = 1 << 31


@dataclass(frozen=True, slots=True)
class Record:
    """A state, the replies that a resend gets, and the encoding that the run has settled on.

    Attributes:
        replies: kind of request, hash of the request, reply.
        pins: per phase, the hash of the first encoding plan of the run.
    """

    state: ClientState
    replies: tuple[tuple[Kind, bytes, bytes], ...] = field(default=(), repr=False)
    pins: tuple[tuple[Phase, bytes], ...] = ()

    def encode(self) -> bytes:
        """As bytes, for the store: they hold secrets."""
        writer = Writer().opaque(self.state.freeze())
        writer.vector(self.replies, lambda w, item: w.u8(item[0]).fixed(item[1], 32).opaque(item[2]))
        return writer.vector(self.pins, lambda w, item: w.u8(item[0]).fixed(item[1], 32)).getvalue()

    def answered(self, kind: Kind, request: bytes) -> bytes | None:
        """What this very request was answered with before."""
        wanted = _hash(request)
        return next((reply for known, digest, reply in self.replies if known is kind and digest == wanted), None)

    def moved(self, state: ClientState, kind: Kind, request: bytes, reply: bytes) -> Record:
        """The next state, with one more reply that a resend gets."""
        return replace(self, state=state, replies=(*self.replies, (kind, _hash(request), reply)))

    @classmethod
    def begun(cls, state: ClientState, pins: tuple[tuple[Phase, bytes], ...]) -> Record:
        """The state after JOIN or PREPARE: what was answered before is forgotten."""
        return cls(state, (), pins)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """The inverse of `encode`.

        Raises:
            DecodeError, ValueError: these bytes are no record.
        """
        reader = Reader(data, "party record")
        state = client.thaw(reader.opaque("state", max_bytes=_MAX_RECORD_BYTES))
        replies = reader.vector(
            "replies",
            lambda r: (Kind(r.u8("kind")), r.fixed(32, "request"), r.opaque("reply", max_bytes=_MAX_RECORD_BYTES)),
            max_items=8,
        )
        pins = reader.vector("pins", lambda r: (Phase(r.u8("phase")), r.fixed(32, "plan")), max_items=len(Phase))
        reader.end()
        return cls(state, tuple(replies), tuple(pins))


def _hash(request: bytes) -> bytes:
    return hashlib.sha256(request).digest()
