"""What caller and key service say to each other. Bytes in, bytes out; no network, no clock.

    challenge   {"nonce", "version"}               from the service, once for each request
    request     statement, signature, envelope     each behind its length in four bytes
    statement   {"caller", "nonce", ...}           canonical JSON: everything that the signature says
    reply       {"key", "signature", "version"}    the file key under HPKE, and the service's signature
    refusal     {"refused", "version"}             the name of a rule

The statement names a public key made for this request alone. Only that key opens the reply, under `info` that has the request's hash:
nobody who records the traffic and breaks TLS, or gets the caller's long-term key later, learns the file key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidTag

from stfed import canonical
from stfed.crypto.kdf import framed
from stfed.crypto.labels import Label
from stfed.errors import MalformedError
from stfed.keys.encryption import HYBRID, Identity
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.keyserver.statement import NONCE_BYTES, VERSION, Statement, fields_of
from stfed.sealed.bounds import SLOT_MAX_BYTES
from stfed.sealed.fields import from_base64, hexadecimal, text, to_base64
from stfed.wire import Reader, Writer

ENVELOPE_MAX_BYTES: Final = SLOT_MAX_BYTES
STATEMENT_MAX_BYTES: Final = 16 << 10
"""A hybrid signing key takes 3.2 KiB as it is written, a hybrid key to reply to 2 KiB."""
SIGNATURE_MAX_BYTES: Final = 4 << 10
REQUEST_MAX_BYTES: Final = 3 * 4 + STATEMENT_MAX_BYTES + SIGNATURE_MAX_BYTES + ENVELOPE_MAX_BYTES
REPLY_MAX_BYTES: Final = 16 << 10


@dataclass(frozen=True)
class Request:
    """A signed statement with the envelope that it is about.

    Attributes:
        statement: what the caller says.
        signature: by the caller's key over it.
        envelope: the live envelope's bytes, not yet looked at.
    """

    statement: Statement
    signature: bytes
    envelope: bytes

    @classmethod
    def make(cls, statement: Statement, envelope: bytes, signer: SigningKey) -> Self:
        """A signed request."""
        return cls(statement, signer.sign(Label.KEY_REQUEST, statement.encoded), envelope)

    def encode(self) -> bytes:
        """The body of the HTTP request."""
        return Writer().opaque(self.statement.encoded).opaque(self.signature).opaque(self.envelope).getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads what `encode` gave, all but the envelope; DecodeError or SealError for anything else."""
        reader = Reader(data, "the request")
        statement = Statement.decode(reader.opaque("statement", max_bytes=STATEMENT_MAX_BYTES))
        signature = reader.opaque("signature", max_bytes=SIGNATURE_MAX_BYTES)
        request = cls(statement, signature, reader.opaque("envelope", max_bytes=ENVELOPE_MAX_BYTES))
        reader.end()
        return request

    def verify(self) -> None:
        """Returns if the caller signed the statement; BadSignatureError if not."""
        self.statement.caller.verify(self.signature, Label.KEY_REQUEST, self.statement.encoded)


@dataclass(frozen=True)
class Reply:
    """A file key for one caller.

    Attributes:
        key: the file key under HPKE, for the request's `reply_to`.
        signature: by the service's key over the request's hash and `key`.
    """

    key: bytes
    signature: bytes

    @classmethod
    def make(cls, statement: Statement, file_key: bytes, signer: SigningKey) -> Self:
        """The reply to a request; ValueError if its key to reply to is not usable (an ML-KEM key out of range, a point of low order)."""
        to = statement.reply_to
        wrapped = to.kind.suite.encrypt(file_key, to.kind.public(to.public), info=framed(Label.KEY_REPLY, statement.sha256))
        return cls(wrapped, signer.sign(Label.KEY_REPLY, statement.sha256, wrapped))

    def open(self, statement: Statement, one_time: Identity, service: VerifyingKey) -> bytes:
        """The file key.

        Raises:
            BadSignatureError: if this is no reply by `service` to this request.
            MalformedError: if it is, and does not open all the same.
        """
        service.verify(self.signature, Label.KEY_REPLY, statement.sha256, self.key)
        try:
            if len(self.key) != HYBRID.body_bytes:
                raise InvalidTag
            return one_time.decrypt(self.key, framed(Label.KEY_REPLY, statement.sha256))
        except (InvalidTag, ValueError):
            raise MalformedError("the key in the reply does not open") from None

    def encode(self) -> bytes:
        """Its canonical JSON."""
        return canonical.encode({"version": VERSION, "key": to_base64(self.key), "signature": to_base64(self.signature)})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads what `encode` gave, or MalformedError."""
        value = fields_of(data, "the reply", {"key", "signature", "version"})
        return cls(from_base64(value["key"], "key"), from_base64(value["signature"], "signature"))


def encode_challenge(nonce: bytes) -> bytes:
    """A challenge with this nonce."""
    return canonical.encode({"version": VERSION, "nonce": nonce.hex()})


def decode_challenge(data: bytes) -> bytes:
    """The nonce of a challenge, or MalformedError."""
    return hexadecimal(fields_of(data, "the challenge", {"nonce", "version"})["nonce"], NONCE_BYTES, "nonce")


def encode_refusal(rule: str) -> bytes:
    """A refusal by this rule."""
    return canonical.encode({"version": VERSION, "refused": rule})


def decode_refusal(data: bytes) -> str:
    """The name of the rule, or MalformedError."""
    return text(fields_of(data, "the refusal", {"refused", "version"})["refused"], "refused")
