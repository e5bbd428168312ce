"""The messages between coordinator and party, and nothing about what they mean.

Every message is `header ‖ body ‖ signature`, encoded with `stfed.wire`: equal messages are equal bytes. The header (version, kind,
suite, run, epoch, round) is the same in all of them, so whatever is hashed or signed over a message is bound to its place in the
protocol. The signature is empty in semi-honest mode, and always in what the coordinator says; in malicious mode it is the sending party's
(`stfed.secagg.signing` says over what).

A *set of parties* (cohort, U1, U2) is a strictly increasing list of directory indices: it has one encoding, and a party that is named
twice cannot be written down. What is per neighbour stands in the order of the sorted neighbour list, which both sides compute, so it
carries no names.

Message by message (`protocol.md`; the steps are those of Bonawitz et al., CCS 2017, and Bell et al., CCS 2020)::

    JOIN      JoinRequest     ->   Join        once per epoch
    PREPARE   PrepareRequest  ->   Prepare     keys, shares, box, commitments
    TRAIN     TrainRequest    ->   Masked      the masked vector travels beside it, packed; or a Complaint (malicious mode)
    CONFIRM   ConfirmRequest  ->   Confirm     a signature under the survivor set (malicious mode)
    UNMASK    UnmaskRequest   ->   Unmask      one share per neighbour, of b or of z
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import ClassVar, Self

from stfed.crypto.aead import NONCE_BYTES, TAG_BYTES
from stfed.crypto.shamir import SHARE_BYTES
from stfed.errors import DecodeError, LocalError
from stfed.secagg.suite import Suite, suite_from
from stfed.wire import Reader, Writer

VERSION = 1
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
    """What a message is. 7, 8 and 11 exist in malicious mode only."""

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


class Phase(IntEnum):
    """What the sum is for. A round number serves one phase only."""

    TRAIN = 1
    EVALUATE = 2


class ShareOf(IntEnum):
    """Which of a neighbour's two secrets a released share belongs to: exactly one of them can be written down."""

    SELF_SEED = 1
    BOX_KEY = 2


class Grievance(IntEnum):
    """What is wrong with a delivery that a party complains about."""

    UNREADABLE = 1
    """It does not open."""
    OUT_OF_FIELD = 2
    """A limb of a share is not below 65521."""
    MISMATCH = 3
    """A share is not the one whose hash came with it."""


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
    return sorted(set(parties)) == list(parties)


def check_party_set(parties: tuple[int, ...], what: str) -> None:
    """Refuses a set of parties that is not strictly increasing."""
    if not _strictly_increasing(parties):
        raise LocalError(f"{what} must be strictly increasing directory indices")


def _write_parties(writer: Writer, parties: tuple[int, ...], what: str) -> None:
    check_party_set(parties, what)
    writer.u32s(parties)


def _read_parties(reader: Reader, what: str) -> tuple[int, ...]:
    parties = reader.u32s(what, max_items=MAX_PARTIES)
    if not _strictly_increasing(parties):
        raise reader.fail(what, "is not strictly increasing: a party is named twice or out of order")
    return parties


def encode_parties(parties: tuple[int, ...]) -> bytes:
    """The one encoding of a set of parties, for hashing."""
    writer = Writer()
    _write_parties(writer, parties, "parties")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest(Message):
    """Coordinator -> party: the cohort, the graph and the encoding of a round.

    Attributes:
        directory: the signed JOINs of the epoch as bytes, sorted by identity; sent with a party's first PREPARE, empty afterwards.
        cohort: who is asked, as directory indices.
        k: neighbours of each party.
        t: shares that reconstruct a secret.
        plan: the encoded `EncodingPlan`: ring bits b, vector length u, clip and scales.
    """

    KIND: ClassVar[Kind] = Kind.PREPARE_REQUEST
    phase: Phase
    mode: int
    directory: tuple[bytes, ...]
    cohort: tuple[int, ...]
    k: int
    t: int
    plan: bytes

    def _write(self, writer: Writer) -> None:
        writer.u8(self.phase).u8(self.mode)
        writer.vector(self.directory, Writer.opaque)
        _write_parties(writer, self.cohort, "cohort")
        writer.u32(self.k).u32(self.t).opaque(self.plan)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            phase=_read_phase(reader),
            mode=reader.u8("mode"),
            directory=tuple(
                reader.vector("directory", lambda r: r.opaque("directory entry", max_bytes=256), max_items=MAX_PARTIES, item_min_bytes=4)
            ),
            cohort=_read_parties(reader, "cohort"),
            k=reader.u32("k"),
            t=reader.u32("t"),
            plan=reader.opaque("plan", max_bytes=MAX_PLAN_BYTES),
        )


def _read_phase(reader: Reader) -> Phase:
    value = reader.u8("phase")
    try:
        return Phase(value)
    except ValueError:
        raise reader.fail("phase", f"{value} is not known") from None


def _split(data: bytes, *sizes_bytes: int) -> list[bytes]:
    """Consecutive pieces of these sizes: a per-neighbour record is read in one go, there are n * k of them."""
    ends = list(accumulate(sizes_bytes, initial=0))
    return [data[start:end] for start, end in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class DealtShares:
    """What a dealer sends for one neighbour.

    Attributes:
        sealed: both shares, AES-256-GCM under a key that only the two share: nonce ‖ ciphertext ‖ tag.
        self_seed_hash: 16-byte hash of the share of b.
        box_key_hash: 16-byte hash of the share of z.
        seed_commitment: 16-byte commitment to the pairwise seed; the neighbour publishes the same one.
    """

    sealed: bytes = field(repr=False)
    self_seed_hash: bytes = field(repr=False)
    box_key_hash: bytes = field(repr=False)
    seed_commitment: bytes = field(repr=False)

    BYTES: ClassVar[int] = SEALED_SHARES_BYTES + 3 * SHORT_HASH_BYTES

    def encode(self) -> bytes:
        """The fields, one behind the other; each has its fixed size."""
        return self.sealed + self.self_seed_hash + self.box_key_hash + self.seed_commitment

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`, of `BYTES` bytes."""
        return cls(*_split(data, SEALED_SHARES_BYTES, SHORT_HASH_BYTES, SHORT_HASH_BYTES, SHORT_HASH_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Message):
    """Party -> coordinator: commitments, the box with its pairwise seeds, and two shares for each neighbour."""

    KIND: ClassVar[Kind] = Kind.PREPARE
    commit_self_seed: bytes
    commit_box_key: bytes
    box: bytes = field(repr=False)
    dealt: tuple[DealtShares, ...] = field(repr=False)

    def _write(self, writer: Writer) -> None:
        writer.fixed(self.commit_self_seed, COMMITMENT_BYTES).fixed(self.commit_box_key, COMMITMENT_BYTES).opaque(self.box)
        writer.fixed_vector([dealt.encode() for dealt in self.dealt], DealtShares.BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            commit_self_seed=reader.fixed(COMMITMENT_BYTES, "commit_self_seed"),
            commit_box_key=reader.fixed(COMMITMENT_BYTES, "commit_box_key"),
            box=reader.opaque("box", max_bytes=MAX_BOX_BYTES),
            dealt=tuple(map(DealtShares.decode, reader.fixed_vector("dealt", DealtShares.BYTES, max_items=MAX_NEIGHBOURS))),
        )


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
        return cls(*_split(data, SEALED_SHARES_BYTES, COMMITMENT_BYTES, SHORT_HASH_BYTES, SHORT_HASH_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest(Message):
    """Coordinator -> party: who is left (U1) and the shares of the neighbours in it. The model and its config travel beside it."""

    KIND: ClassVar[Kind] = Kind.TRAIN_REQUEST
    alive: tuple[int, ...]
    deliveries: tuple[Delivery, ...] = field(repr=False)

    def _write(self, writer: Writer) -> None:
        _write_parties(writer, self.alive, "alive")
        writer.fixed_vector([delivery.encode() for delivery in self.deliveries], Delivery.BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            alive=_read_parties(reader, "alive"),
            deliveries=tuple(map(Delivery.decode, reader.fixed_vector("deliveries", Delivery.BYTES, max_items=MAX_NEIGHBOURS))),
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRequest(Message):
    """Coordinator -> party: sign that these are the parties in the sum (U2)."""

    KIND: ClassVar[Kind] = Kind.CONFIRM_REQUEST
    survivors: tuple[int, ...]

    def _write(self, writer: Writer) -> None:
        _write_parties(writer, self.survivors, "survivors")

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(header=header, survivors=_read_parties(reader, "survivors"))


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
        _write_parties(writer, self.survivors, "survivors")
        writer.vector(self.confirmations, lambda w, item: w.u32(item[0]).fixed(item[1], MAX_SIGNATURE_BYTES))

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            survivors=_read_parties(reader, "survivors"),
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
