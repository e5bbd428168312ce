"""Who signs notes, and whose signatures count: the two Ed25519 signature types of C2SP.

    0x01  the note's text itself (c2sp.org/signed-note): how a log signs its checkpoints.
    0x04  "cosignature/v1", a time, and the text (c2sp.org/tlog-cosignature): how others say that they saw the log grow up to there.

The key of one type never verifies the other's signatures, even if it is the same Ed25519 key, because the messages differ in their first
line. A cosignature does not contain the cosigner's name: one key, one cosigner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Protocol, Self

from stfed.audit.errors import UntrustedError
from stfed.audit.note import Note, Signature, base64_bytes, base64_text, check_name
from stfed.crypto.identity import PUBLIC_BYTES, SIGNATURE_BYTES, BadSignatureError, Identity, verify_text
from stfed.errors import LocalError, MalformedError, shown

_COSIGNATURE_LINE = "cosignature/v1\n"
_TIME_BYTES = 8


class Algorithm(IntEnum):
    """The signature type, as its identifier byte."""

    NOTE = 0x01
    COSIGNATURE = 0x04


class HasEd25519(Protocol):
    """A signing key of several algorithms; `stfed.keys.signing.SigningKey` is one."""

    @property
    def ed25519(self) -> Identity:
        """Its Ed25519 half, which is all that notes have."""
        ...


Signer = Identity | HasEd25519
"""What signs here."""


def _identity(signer: Signer) -> Identity:
    return signer if isinstance(signer, Identity) else signer.ed25519


@dataclass(frozen=True)
class VerifierKey:
    """A public key under the name it signs with, as the text `name+id+base64` (a "vkey"): what a person is given to trust.

    Attributes:
        name: of a log's key, the log's origin.
        algorithm: what its signatures say.
        public: 32 bytes.
    """

    name: str
    algorithm: Algorithm
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name, "the key name")
        if len(self.public) != PUBLIC_BYTES:
            raise LocalError(f"an Ed25519 public key has {PUBLIC_BYTES} bytes, not {len(self.public)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a vkey.

        Raises:
            MalformedError: if it is none, or of another signature type than the two here.
        """
        name, plus, rest = text.partition("+")
        key_id, other_plus, key = rest.partition("+")  # base64 may hold a plus
        if not (plus and other_plus):
            raise MalformedError(f"{shown(text)} is no verifier key", hint="it is NAME+ID+KEY, as `stfed audit` prints it")
        data = base64_bytes(key, "the verifier key")
        if data[0] not in list(Algorithm) or len(data) != 1 + PUBLIC_BYTES:
            raise MalformedError(f"the verifier key {shown(text)} is not Ed25519", hint="types 0x01 and 0x04 are understood")
        try:
            found = cls(name, Algorithm(data[0]), data[1:])
        except LocalError as error:
            raise MalformedError(error.message) from None
        if key_id != found.key_id.hex():
            raise MalformedError(f"the verifier key {shown(text)} does not have the id that it names", hint="it was cut off or mistyped")
        return found

    @property
    def key_id(self) -> bytes:
        """Four bytes that, with the name, find the key's signatures; no proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:4]

    def check(self, text: str, body: bytes) -> datetime | None:
        """Returns if `body` is this key's signature on the note `text`: when it was made, of a cosignature.

        Raises:
            BadSignatureError: otherwise.
        """
        stamp_bytes = _TIME_BYTES if self.algorithm is Algorithm.COSIGNATURE else 0
        if len(body) != stamp_bytes + SIGNATURE_BYTES:
            raise BadSignatureError(f"the signature by {shown(self.name)} does not have the length of its type")
        time = None
        if stamp_bytes:
            try:
                time = datetime.fromtimestamp(int.from_bytes(body[:stamp_bytes], "big"), UTC)
            except (ValueError, OverflowError, OSError):
                raise BadSignatureError(f"the cosignature by {shown(self.name)} is of a time that there is not") from None
        if time is None and text.startswith(_COSIGNATURE_LINE):  # else one signature could be read as either type
            raise BadSignatureError("a note whose text begins as what cosigners sign is not believed")
        try:
            verify_text(self.public, body[stamp_bytes:], _message(text, time))
        except BadSignatureError as error:
            raise BadSignatureError(f"{error.message}, says the note signed as {shown(self.name)}", party=self.name) from None
        return time

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64_text(bytes([self.algorithm]) + self.public)}"


def log_key(origin: str, public: bytes | Signer) -> VerifierKey:
    """The key that a log of this origin signs its checkpoints with."""
    return VerifierKey(origin, Algorithm.NOTE, public if isinstance(public, bytes) else _identity(public).public_bytes)


def cosigner_key(name: str, public: bytes | Signer) -> VerifierKey:
    """The key that somebody of this name cosigns checkpoints with."""
    return VerifierKey(name, Algorithm.COSIGNATURE, public if isinstance(public, bytes) else _identity(public).public_bytes)


def keys(trusted: Iterable[VerifierKey | str]) -> tuple[VerifierKey, ...]:
    """The keys, those given as text read; LocalError for one text in place of a list of them."""
    if isinstance(trusted, str):
        raise LocalError("the trusted keys are a list, not one text", hint="put the key into a list")
    return tuple(dict.fromkeys(VerifierKey.parse(key) if isinstance(key, str) else key for key in trusted))


def _message(text: str, time: datetime | None) -> bytes:
    return (text if time is None else f"{_COSIGNATURE_LINE}time {int(time.timestamp())}\n{text}").encode()


def sign(text: str, name: str, signer: Signer) -> Signature:
    """The signature of a log on the text of its checkpoint."""
    if text.startswith(_COSIGNATURE_LINE):
        raise LocalError("a text that begins as what cosigners sign is not signed as a note")
    key = log_key(name, signer)
    return Signature(key.name, key.key_id, _identity(signer).sign_text(_message(text, None)))


def cosign(text: str, name: str, signer: Signer, time: datetime) -> Signature:
    """The signature of somebody else on it, at `time` (whole seconds). It says that the log was seen to grow: check that first."""
    key, stamp = cosigner_key(name, signer), int(time.timestamp()).to_bytes(_TIME_BYTES, "big")
    return Signature(key.name, key.key_id, stamp + _identity(signer).sign_text(_message(text, time)))


def verified(note: Note, trusted: Iterable[VerifierKey]) -> Mapping[VerifierKey, datetime | None]:
    """Which of the trusted keys have signed, and when, where the signature says.

    Raises:
        BadSignatureError: if the note claims a trusted key's signature that the key did not make.
        UntrustedError: if none of the keys has signed.
    """
    known = {(key.name, key.key_id): key for key in trusted}
    found: dict[VerifierKey, datetime | None] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            found[key] = key.check(note.text, signature.body)
    if not found:
        names = ", ".join(sorted({shown(signature.name) for signature in note.signatures}))
        raise UntrustedError(f"no trusted key has signed this; it is signed as {names}")
    return found
