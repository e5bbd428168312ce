"""PREPARE: cohort and parameters of a round; keys, shares, box and commitments of a party."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from stfed.secagg.messages.base import (
    COMMITMENT_BYTES,
    MAX_BOX_BYTES,
    MAX_NEIGHBOURS,
    MAX_PARTIES,
    MAX_PLAN_BYTES,
    SEALED_SHARES_BYTES,
    SHORT_HASH_BYTES,
    Header,
    Kind,
    Message,
    Phase,
    read_parties,
    write_parties,
)
from stfed.wire import Reader, Writer

# Where in a `DealtShares` each field begins; the ciphertext stands first.
_HASH_B = SEALED_SHARES_BYTES
_HASH_Z = _HASH_B + SHORT_HASH_BYTES
_SEED = _HASH_Z + SHORT_HASH_BYTES


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
    directory: Sequence[bytes]
    cohort: tuple[int, ...]
    k: int
    t: int
    plan: bytes

    def _write(self, writer: Writer) -> None:
        writer.u8(self.phase).u8(self.mode)
        writer.vector(self.directory, Writer.opaque)
        write_parties(writer, self.cohort, "cohort")
        writer.u32(self.k).u32(self.t).opaque(self.plan)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            phase=_read_phase(reader),
            mode=reader.u8("mode"),
            directory=tuple(reader.opaques("directory", max_bytes=256, max_items=MAX_PARTIES)),
            cohort=read_parties(reader, "cohort"),
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
        return cls(data[:_HASH_B], data[_HASH_B:_HASH_Z], data[_HASH_Z:_SEED], data[_SEED:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Message):
    """Party -> coordinator: commitments, the box with its pairwise seeds, and two shares for each neighbour."""

    KIND: ClassVar[Kind] = Kind.PREPARE
    commit_self_seed: bytes
    commit_box_key: bytes
    box: bytes = field(repr=False)
    dealt: Sequence[DealtShares] = field(repr=False)

    def _write(self, writer: Writer) -> None:
        writer.fixed(self.commit_self_seed, COMMITMENT_BYTES).fixed(self.commit_box_key, COMMITMENT_BYTES).opaque(self.box)
        writer.records(self.dealt, DealtShares.BYTES)

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        return cls(
            header=header,
            commit_self_seed=reader.fixed(COMMITMENT_BYTES, "commit_self_seed"),
            commit_box_key=reader.fixed(COMMITMENT_BYTES, "commit_box_key"),
            box=reader.opaque("box", max_bytes=MAX_BOX_BYTES),
            dealt=reader.records("dealt", DealtShares.BYTES, DealtShares.decode, max_items=MAX_NEIGHBOURS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPrepare(Prepare):
    """`Prepare` of a party that has drawn its share-holders itself: it names them, and box and commitments cover the whole cohort.

    Who will hold shares of whom is not known before everybody has drawn, so a party commits to its seed with each of the others.

    Attributes:
        holders: whom the shares are dealt to, in the order of `dealt`, which has the commitments to the seeds with them.
        others: 16-byte commitments to the seeds with everybody else in the cohort, ascending, one behind the other.
    """

    KIND: ClassVar[Kind] = Kind.DRAWN_PREPARE
    holders: tuple[int, ...]
    others: bytes = field(repr=False)

    def _write(self, writer: Writer) -> None:
        Prepare._write(self, writer)
        write_parties(writer, self.holders, "holders")
        writer.opaque(self.others)

    @classmethod
    def of(cls, prepare: Prepare, holders: tuple[int, ...], others: bytes) -> Self:
        """What `prepare` says, of a party that has drawn `holders`."""
        return cls(
            header=prepare.header,
            commit_self_seed=prepare.commit_self_seed,
            commit_box_key=prepare.commit_box_key,
            box=prepare.box,
            dealt=prepare.dealt,
            holders=holders,
            others=others,
        )

    @classmethod
    def _read(cls, reader: Reader, header: Header) -> Self:
        common = Prepare._read(reader, header)
        return cls.of(common, read_parties(reader, "holders"), reader.opaque("others", max_bytes=MAX_NEIGHBOURS * SHORT_HASH_BYTES))
