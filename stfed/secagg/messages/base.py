"""What all messages share: header, framing, signature, sets of parties, and the caps that a decoder applies before it allocates."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from operator import lt
from typing import ClassVar, Self

from stfed.crypto.aead import NONCE_BYTES, TAG_BYTES
from stfed.crypto.shamir import SHARE_BYTES
from stfed.errors import DecodeError, LocalError
from stfed.secagg.suite import Suite, suite_from
from stfed.wire import Reader, Writer

VERSION = 1
_HEADER_BYTES = 20
IDENTITY_BYTES = 32
PUBLIC_KEY_BYTES = 32
SHORT_HASH_BYTES = 16
COMMITMENT_BYTES = 32
SEALED_SHARES_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + TAG_BYTES

# Caps that a decoder applies before it allocates. They bound memory, not policy: a party's policy is far stricter.
MAX_PARTIES = 1 << 20
MAX_NEIGHBOURS = 65_520
MAX_PLAN_BYTES = 16 << 20
MAX_SCHEMA_BYTES = 1 << 20
MAX_BOX_BYTES = MAX_NEIGHBOURS * 32 + TAG_BYTES
MAX_SIGNATURE_BYTES = 64


class Kind(IntEnum):
    """What a message is. 7, 8 and 11 to 13 exist in malicious mode only."""

    JOIN_REQUEST = 1
    JOIN = 2
    PREPARE_REQUEST = 3
    PREPARE = 4
    TRAIN_REQUEST = 5
    MASKED = 6
    CONFIRM_REQUEST = 7
    CONFIRM = 8
    UNMASK_REQUEST = 9
    UNMASK = 10
    COMPLAINT = 11
    DRAWN_PREPARE = 12
    DRAWN_TRAIN_REQUEST = 13


class Phase(IntEnum):
    """What the sum is for. A round number serves one phase only."""

    TRAIN = 1
    EVALUATE = 2


class ShareOf(IntEnum):
    """Which of a neighbour's two secrets a released share belongs to: exactly one of them can be written down."""

    SELF_SEED = 1
    BOX_KEY = 2


@dataclass(frozen=True, slots=True)
class Header:
    """Where in a run a message belongs. In JOIN, `round` is the last round number used before this epoch: the ratchet starts there."""

    run: int
    epoch: int
    round: int
    suite: Suite = Suite.X25519_AES256

    def encode(self) -> bytes:
        """The fields that every key and every hash of the round is bound to."""
        return _encode_header(self)


@lru_cache(maxsize=256)
def _encode_header(header: Header) -> bytes:
    """Cached, because a party of k neighbours binds some 10 k derivations and hashes to the same header."""
    return Writer().u8(VERSION).u16(header.suite).u64(header.run).u32(header.epoch).u32(header.round).getvalue()


def _strictly_increasing(parties: tuple[int, ...]) -> bool:
    return all(map(lt, parties, parties[1:]))


def check_party_set(parties: tuple[int, ...], what: str) -> None:
    """Refuses a set of parties that is not strictly increasing."""
    if not _strictly_increasing(parties):
        raise LocalError(f"{what} must be strictly increasing directory indices")


def write_parties(writer: Writer, parties: tuple[int, ...], what: str) -> None:
    """Writes a set of parties, in its one encoding."""
    encoded = _encode_parties(parties, what)
    writer.fixed(encoded, len(encoded))


@lru_cache(maxsize=8)
def _encode_parties(parties: tuple[int, ...], what: str) -> bytes:
    """Cached, because a coordinator writes the same U1 into n messages, and a party the same cohort into several records and hashes."""
    check_party_set(parties, what)
    return Writer().u32s(parties).getvalue()


def read_parties(reader: Reader, what: str) -> tuple[int, ...]:
    """Reads a set of parties; a `DecodeError` for a list that is none."""
    parties = reader.u32s(what, max_items=MAX_PARTIES)
    if not _strictly_increasing(parties):
        raise reader.fail(what, "is not strictly increasing: a party is named twice or out of order")
    return parties


def encode_parties(parties: tuple[int, ...]) -> bytes:
    """The one encoding of a set of parties, for hashing."""
    writer = Writer()
    write_parties(writer, parties, "parties")
    return writer.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What all messages share: the header, the framing and the signature field."""

    KIND: ClassVar[Kind]
    header: Header
    signature: bytes = field(default=b"", repr=False)

    def _write(self, writer: Writer) -> None:
        raise NotImplementedError

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        raise NotImplementedError

    def unsigned(self) -> bytes:
        """`header ‖ body`: what a signature covers."""
        writer = Writer().u8(VERSION).u8(self.KIND).u16(self.header.suite)
        writer.u64(self.header.run).u32(self.header.epoch).u32(self.header.round)
        self._write(writer)
        return writer.getvalue()

    def encode(self) -> bytes:
        """The message as bytes."""
        return self.unsigned() + Writer().opaque(self.signature).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The message of these bytes.

        Raises:
            DecodeError: not one of this kind in its one encoding.
        """
        reader = Reader(data, cls.__name__)
        kind, header = _read_header(reader)
        if kind is not cls.KIND:
            raise DecodeError(f"expected {cls.KIND.name}, got {kind.name}")
        message = cls._read(reader, header)
        object.__setattr__(message, "signature", reader.opaque("signature", max_bytes=MAX_SIGNATURE_BYTES))
        reader.end()
        return message


def _read_header(reader: Reader) -> tuple[Kind, Header]:
    kind_and_header = _decode_header(reader.what, reader.ahead(_HEADER_BYTES))
    reader.fixed(_HEADER_BYTES, "header")
    return kind_and_header


@lru_cache(maxsize=256)
def _decode_header(what: str, data: bytes) -> tuple[Kind, Header]:
    """Cached, because all JOINs of a directory and all replies to a request begin with the same bytes."""
    reader = Reader(data, what)
    version = reader.u8("version")
    if version != VERSION:
        raise reader.fail("version", f"is {version}, this side speaks version {VERSION}")
    value = reader.u8("kind")
    try:
        kind = Kind(value)
    except ValueError:
        raise reader.fail("kind", f"{value} is not known") from None
    suite = suite_from(reader.u16("suite"))
    return kind, Header(run=reader.u64("run"), epoch=reader.u32("epoch"), round=reader.u32("round"), suite=suite)


def peek(data: bytes) -> tuple[Kind, Header]:
    """Kind and header of a message, without decoding the rest."""
    return _read_header(Reader(data, "message"))
