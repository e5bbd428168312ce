"""CONFIRM and UNMASK: the survivor set, signed, and the shares that are released for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from stfed.crypto.shamir import SHARE_BYTES
from stfed.secagg.messages.base import (
    MAX_NEIGHBOURS,
    MAX_PARTIES,
    MAX_SIGNATURE_BYTES,
    Header,
    Kind,
    Message,
    ShareOf,
    read_parties,
    write_parties,
)
from stfed.wire import Reader, Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRequest(Message):
    """Coordinator -> party: sign that these are the parties in the sum (U2)."""

    KIND: ClassVar[Kind] = Kind.CONFIRM_REQUEST
    survivors: tuple[int, ...]

    def _write(self, writer: Writer) -> None:
        write_parties(writer, self.survivors, "survivors")

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(header=header, survivors=read_parties(reader, "survivors"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm(Message):
    """Party -> coordinator: I sign this U2. The signature covers header, transcript and U2, goes into UNMASK, and is all there is."""

    KIND: ClassVar[Kind] = Kind.CONFIRM

    def _write(self, writer: Writer) -> None:
        """Nothing but the header."""

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(header=header)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskRequest(Message):
    """Coordinator -> party: whose inputs are in the sum (U2). `confirmations` are CONFIRM's signatures; empty in semi-honest mode."""

    KIND: ClassVar[Kind] = Kind.UNMASK_REQUEST
    survivors: tuple[int, ...]
    confirmations: tuple[tuple[int, bytes], ...] = ()

    def _write(self, writer: Writer) -> None:
        write_parties(writer, self.survivors, "survivors")
        writer.vector(self.confirmations, lambda w, item: w.u32(item[0]).fixed(item[1], MAX_SIGNATURE_BYTES))

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            survivors=read_parties(reader, "survivors"),
            confirmations=tuple(
                reader.vector(
                    "confirmations",
                    lambda r: (r.u32("confirming party"), r.fixed(MAX_SIGNATURE_BYTES, "confirmation")),
                    max_items=MAX_PARTIES,
                    item_min_bytes=4 + MAX_SIGNATURE_BYTES,
                )
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmask(Message):
    """Party -> coordinator: for each neighbour in U1, in order, one share: of b if it survived, of z if it did not."""

    KIND: ClassVar[Kind] = Kind.UNMASK
    shares: tuple[tuple[ShareOf, bytes], ...] = field(repr=False)

    def _write(self, writer: Writer) -> None:
        writer.fixed_vector([bytes((of,)) + share for of, share in self.shares], 1 + SHARE_BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        items = reader.fixed_vector("shares", 1 + SHARE_BYTES, max_items=MAX_NEIGHBOURS)
        try:
            return cls(header=header, shares=tuple((ShareOf(item[0]), item[1:]) for item in items))
        except ValueError:
            raise reader.fail("shares", "has a share of neither secret") from None
