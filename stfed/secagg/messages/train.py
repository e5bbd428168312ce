"""TRAIN: who is left and what the others dealt; the masked vector, or a complaint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Self

from stfed.secagg.messages.base import (
    COMMITMENT_BYTES,
    MAX_NEIGHBOURS,
    MAX_SCHEMA_BYTES,
    SEALED_SHARES_BYTES,
    SHORT_HASH_BYTES,
    Header,
    Kind,
    Message,
    peek,
    read_parties,
    write_parties,
)
from stfed.wire import Reader, Writer

# Where in a `Delivery` each field begins; the ciphertext stands first.
_COMMITMENTS = SEALED_SHARES_BYTES
_HASH_B = _COMMITMENTS + COMMITMENT_BYTES
_HASH_Z = _HASH_B + SHORT_HASH_BYTES


class Grievance(IntEnum):
    """What is wrong with a delivery that a party complains about."""

    UNREADABLE = 1
    """It does not open."""
    OUT_OF_FIELD = 2
    """A limb of a share is not below 65521."""
    MISMATCH = 3
    """A share is not the one whose hash came with it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the coordinator passes on from one dealer to one holder.

    Attributes:
        sealed: as in `DealtShares`.
        commitments: the hash of all that the dealer published; inside the associated data of `sealed`.
        self_seed_hash: hash of the holder's share of b, as the dealer published it.
        box_key_hash: hash of the holder's share of z, likewise.
    """

    sealed: bytes = field(repr=False)
    commitments: bytes = field(repr=False)
    self_seed_hash: bytes = field(repr=False)
    box_key_hash: bytes = field(repr=False)

    BYTES: ClassVar[int] = SEALED_SHARES_BYTES + COMMITMENT_BYTES + 2 * SHORT_HASH_BYTES

    def encode(self) -> bytes:
        """The fields, one behind the other; each has its fixed size."""
        return self.sealed + self.commitments + self.self_seed_hash + self.box_key_hash

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`, of `BYTES` bytes."""
        return cls(data[:_COMMITMENTS], data[_COMMITMENTS:_HASH_B], data[_HASH_B:_HASH_Z], data[_HASH_Z:])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest(Message):
    """Coordinator -> party: who is left (U1) and the shares of the neighbours in it. The model and its config travel beside it."""

    KIND: ClassVar[Kind] = Kind.TRAIN_REQUEST
    alive: tuple[int, ...]
    deliveries: Sequence[Delivery] = field(repr=False)

    def _write(self, writer: Writer) -> None:
        write_parties(writer, self.alive, "alive")
        writer.records(self.deliveries, Delivery.BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            alive=read_parties(reader, "alive"),
            deliveries=reader.records("deliveries", Delivery.BYTES, Delivery.decode, max_items=MAX_NEIGHBOURS),
        )

    @classmethod
    def decode(cls, data: bytes) -> TrainRequest:
        """The message of these bytes, a `DrawnTrainRequest` where they say so: which of the two is due, the party's state knows.

        Raises:
            DecodeError: neither of them in its one encoding.
        """
        if cls is TrainRequest and peek(data)[0] is Kind.DRAWN_TRAIN_REQUEST:
            return DrawnTrainRequest.decode(data)
        return super(TrainRequest, cls).decode(data)  # the name, because `slots` makes another class of this one


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTrainRequest(TrainRequest):
    """`TrainRequest` where everybody has drawn its share-holders: it names the dealers that the deliveries come from.

    Attributes:
        dealers: in the order of `deliveries`.
    """

    KIND: ClassVar[Kind] = Kind.DRAWN_TRAIN_REQUEST
    dealers: tuple[int, ...]

    def _write(self, writer: Writer) -> None:
        TrainRequest._write(self, writer)
        write_parties(writer, self.dealers, "dealers")

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        common = TrainRequest._read(reader, header)
        return cls(header=header, alive=common.alive, deliveries=common.deliveries, dealers=read_parties(reader, "dealers"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked(Message):
    """Party -> coordinator: what belongs to a masked input.

    Attributes:
        schema: which metrics the vector carries (names only), opaque to the protocol.
        payload_bytes: length of the packed vector that travels beside this message.
        payload_digest: its SHA-256 where the message is signed, empty otherwise.
    """

    KIND: ClassVar[Kind] = Kind.MASKED
    schema: bytes
    payload_bytes: int
    payload_digest: bytes = b""

    def _write(self, writer: Writer) -> None:
        writer.opaque(self.schema).u64(self.payload_bytes).opaque(self.payload_digest)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            schema=reader.opaque("schema", max_bytes=MAX_SCHEMA_BYTES),
            payload_bytes=reader.u64("payload_bytes"),
            payload_digest=reader.opaque("payload_digest", max_bytes=32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint(Message):
    """Party -> coordinator, in the place of `Masked`: what came to it as a dealer's shares is none.

    Attributes:
        dealer: directory index.
        grievance: what is wrong.
        delivery: SHA-256 of the `Delivery` as it arrived; it tells a dealer's fault from one on the way.
    """

    KIND: ClassVar[Kind] = Kind.COMPLAINT
    dealer: int
    grievance: Grievance
    delivery: bytes

    def _write(self, writer: Writer) -> None:
        writer.u32(self.dealer).u8(self.grievance).fixed(self.delivery, COMMITMENT_BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        dealer, value = reader.u32("dealer"), reader.u8("grievance")
        try:
            grievance = Grievance(value)
        except ValueError:
            raise reader.fail("grievance", f"{value} is not known") from None
        return cls(header=header, dealer=dealer, grievance=grievance, delivery=reader.fixed(COMMITMENT_BYTES, "delivery"))
