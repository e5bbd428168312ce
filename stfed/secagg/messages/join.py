"""JOIN: who takes part in an epoch, each with a fresh public key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from stfed.secagg.messages.base import IDENTITY_BYTES, PUBLIC_KEY_BYTES, Header, Kind, Message
from stfed.wire import Reader, Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest(Message):
    """Coordinator -> party: take part in this run, in this epoch. `mode` is 1 (semi-honest) or 2 (malicious)."""

    KIND: ClassVar[Kind] = Kind.JOIN_REQUEST
    mode: int

    def _write(self, writer: Writer) -> None:
        writer.u8(self.mode)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(header=header, mode=reader.u8("mode"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Message):
    """Party -> coordinator: who I am in this run, and my fresh X25519 key (RFC 7748).

    `identity` is the party's Ed25519 key where it has one, otherwise 32 random bytes that only tell it apart from the others.
    """

    KIND: ClassVar[Kind] = Kind.JOIN
    identity: bytes
    public_key: bytes

    def _write(self, writer: Writer) -> None:
        writer.fixed(self.identity, IDENTITY_BYTES).fixed(self.public_key, PUBLIC_KEY_BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header, identity=reader.fixed(IDENTITY_BYTES, "identity"), public_key=reader.fixed(PUBLIC_KEY_BYTES, "public_key")
        )
