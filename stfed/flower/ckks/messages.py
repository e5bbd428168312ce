"""What parties, coordinator and key holder say to each other, and nothing about what it means.

Encoded with `stfed.wire`: equal messages are equal bytes. Every message begins with a version and a kind. Encrypted vectors travel beside
them, as arrays of raw bytes, which Flower moves in chunks like any model.

    coordinator -> everybody      WHO          who are you?
    everybody   -> coordinator    HERE         a party, or the key holder of this key pair, signed if it has a signing key
    coordinator -> party          TRAIN        beside the model: whose key, which round, which plan
    party       -> coordinator    STATEMENT    what the vector beside it is, signed if the party signs
    coordinator -> key holder     SUM          all statements; beside them the sum, or all vectors
    key holder  -> coordinator    MEAN         beside it the mean, signed as well
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import ClassVar, Self, TypeVar

from stfed.crypto import identity as identities
from stfed.crypto.identity import Identity
from stfed.crypto.labels import Label
from stfed.errors import DecodeError, LocalError
from stfed.flower.ckks.plan import MAX_PARTIES
from stfed.keys.signing import Kind as KeyKind
from stfed.secagg.messages import Phase
from stfed.wire import Reader, Writer

VERSION = 1
DIGEST_BYTES = 32
CHALLENGE_BYTES = 32
_SIGNATURE_BYTES = max(kind.signature_bytes for kind in KeyKind)
_PLAN_BYTES = 1 << 26
_SCHEMA_BYTES = 1 << 26
_STATEMENT_BYTES = _SCHEMA_BYTES + 1024


class Kind(IntEnum):
    """Of a message."""

    WHO = 1
    HERE = 2
    TRAIN = 3
    STATEMENT = 4
    SUM = 5
    MEAN = 6


@dataclass(frozen=True)
class Round:
    """Which sum a message belongs to.

    Attributes:
        fingerprint: of the key holder's public context, 32 bytes.
        run: Flower's run id.
        number: of the round; every sum has its own.
    """

    fingerprint: bytes
    run: int
    number: int

    def write(self, writer: Writer) -> Writer:
        """Appends it."""
        return writer.fixed(self.fingerprint, DIGEST_BYTES).u64(self.run).u64(self.number)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes it off."""
        return cls(reader.fixed(DIGEST_BYTES, "fingerprint"), reader.u64("run"), reader.u64("round"))


@dataclass(frozen=True)
class Who:
    """Asks a node what it is.

    Attributes:
        challenge: 32 random bytes, for a key holder to sign.
    """

    KIND: ClassVar[Kind] = Kind.WHO
    challenge: bytes

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        writer.fixed(self.challenge, CHALLENGE_BYTES)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields off."""
        return cls(reader.fixed(CHALLENGE_BYTES, "challenge"))


@dataclass(frozen=True)
class Here:
    """What a node is.

    Attributes:
        fingerprint: of the key pair that it is the holder of; empty for a party.
        signed: whether the key holder takes signed contributions, which it adds itself, and no sums of others.
        signature: the key holder's, if it has a signing key (`stfed.flower.ckks.vouching`).
    """

    KIND: ClassVar[Kind] = Kind.HERE
    fingerprint: bytes = b""
    signed: bool = False
    signature: bytes = field(default=b"", repr=False)

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        writer.opaque(self.fingerprint).u8(self.signed).opaque(self.signature)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields off."""
        fingerprint, signed = reader.opaque("fingerprint", max_bytes=DIGEST_BYTES), bool(reader.u8("signed"))
        return cls(fingerprint, signed, reader.opaque("signature", max_bytes=_SIGNATURE_BYTES))


@dataclass(frozen=True)
class Train:
    """Asks a party for its contribution.

    Attributes:
        plan: encoded.
    """

    KIND: ClassVar[Kind] = Kind.TRAIN
    round: Round
    plan: bytes

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        self.round.write(writer).opaque(self.plan)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields off."""
        return cls(Round.read(reader), reader.opaque("plan", max_bytes=_PLAN_BYTES))


@dataclass(frozen=True)
class Statement:
    """What a party says of its encrypted vector.

    Attributes:
        plan: SHA-256 of the encoded plan.
        phase: what the sum is for.
        content: digest of the model and config that it worked on (`records.content_digest`).
        bound: digest of all that its function could read (`records.bound_digest`).
        schema: the names of its metrics, encoded.
        vector: SHA-256 of the encrypted vector.
        least: fewest parties of a sum that this one is to be in, by its own policy.
        identity: its Ed25519 public key; empty if it signs nothing.
        signature: over everything else.
    """

    KIND: ClassVar[Kind] = Kind.STATEMENT
    round: Round
    plan: bytes
    phase: Phase
    content: bytes
    bound: bytes
    schema: bytes
    vector: bytes
    least: int
    identity: bytes = b""
    signature: bytes = field(default=b"", repr=False)

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        self.round.write(writer).fixed(self.plan, DIGEST_BYTES).u8(self.phase).fixed(self.content, DIGEST_BYTES)
        writer.fixed(self.bound, DIGEST_BYTES).opaque(self.schema).fixed(self.vector, DIGEST_BYTES).u32(self.least)
        writer.opaque(self.identity).opaque(self.signature)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields off."""
        round_, plan, phase = Round.read(reader), reader.fixed(DIGEST_BYTES, "plan"), reader.u8("phase")
        if phase not in (Phase.TRAIN, Phase.EVALUATE):
            raise reader.fail("phase", f"there is no phase {phase}")
        content, bound = reader.fixed(DIGEST_BYTES, "content"), reader.fixed(DIGEST_BYTES, "bound")
        schema, vector = reader.opaque("schema", max_bytes=_SCHEMA_BYTES), reader.fixed(DIGEST_BYTES, "vector")
        least = reader.u32("least")
        identity = reader.opaque("identity", max_bytes=identities.PUBLIC_BYTES)
        signature = reader.opaque("signature", max_bytes=identities.SIGNATURE_BYTES)
        return cls(round_, plan, Phase(phase), content, bound, schema, vector, least, identity, signature)

    @property
    def facts(self) -> tuple[object, ...]:
        """What all contributions to a sum say alike: who says something else was asked something else."""
        return self.round, self.plan, self.phase, self.content, self.bound, self.schema

    def signed(self, identity: Identity) -> Statement:
        """With this party's signature."""
        said = replace(self, identity=identity.public_bytes, signature=b"")
        return replace(said, signature=identity.sign(Label.CKKS_CONTRIBUTION, encode(said)))

    def check_signature(self) -> None:
        """Returns if `identity` signed it; BadSignatureError if not."""
        identities.verify(self.identity, self.signature, Label.CKKS_CONTRIBUTION, encode(replace(self, signature=b"")))


@dataclass(frozen=True)
class Sum:
    """Asks the key holder for a mean.

    Attributes:
        plan: encoded.
        statements: of all whose vectors are summed, encoded, in the order of the vectors where those are beside.
    """

    KIND: ClassVar[Kind] = Kind.SUM
    round: Round
    plan: bytes
    statements: tuple[bytes, ...]

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        self.round.write(writer).opaque(self.plan).vector(self.statements, Writer.opaque)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields off."""
        round_, plan = Round.read(reader), reader.opaque("plan", max_bytes=_PLAN_BYTES)
        return cls(round_, plan, tuple(reader.opaques("statements", max_bytes=_STATEMENT_BYTES, max_items=MAX_PARTIES)))


@dataclass(frozen=True)
class Mean:
    """The key holder's answer; the numbers are beside it.

    Attributes:
        signature: the key holder's, if it has a signing key (`stfed.flower.ckks.vouching`).
    """

    KIND: ClassVar[Kind] = Kind.MEAN
    round: Round
    signature: bytes = field(default=b"", repr=False)

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        self.round.write(writer).opaque(self.signature)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields off."""
        return cls(Round.read(reader), reader.opaque("signature", max_bytes=_SIGNATURE_BYTES))


Message = Who | Here | Train | Statement | Sum | Mean
M = TypeVar("M", Who, Here, Train, Statement, Sum, Mean)


def encode(message: Message) -> bytes:
    """A message's one encoding."""
    writer = Writer().u8(VERSION).u8(message.KIND)
    message.write(writer)
    return writer.getvalue()


def decode(kind: type[M], data: bytes) -> M:
    """The message of this kind that `data` is the encoding of; DecodeError if it is none."""
    reader = Reader(data, f"{kind.__name__} message of an encrypted sum")
    if reader.u8("version") != VERSION:
        raise DecodeError(f"{reader.what}: of a version that is not known here")
    if reader.u8("kind") != kind.KIND:
        raise DecodeError(f"{reader.what}: it is a message of another kind")
    try:
        message = kind.read(reader)
    except LocalError as error:
        raise DecodeError(f"{reader.what}: {error.message}") from None
    reader.end()
    if encode(message) != data:
        raise DecodeError(f"{reader.what}: not in its one encoding")
    return message


def kind_of(data: bytes) -> Kind:
    """Which kind of message it is; DecodeError if none."""
    if len(data) < 2 or data[0] != VERSION or data[1] not in set(Kind):
        raise DecodeError("this is no message of an encrypted sum of a version that is known here")
    return Kind(data[1])
