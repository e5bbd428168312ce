"""How the file of an evaluation context begins, and how what follows is held against it; no SEAL here.

    magic, version, parameters, which keys there are, fingerprint, time, signatures; then the words of the keys

The parameters fix the length of the whole file. The signatures are over the fingerprint, which is a hash of parameters and keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import DIGEST_BYTES
from stfed.crypto.labels import Label
from stfed.encrypted import keywords
from stfed.encrypted.context import fingerprint
from stfed.encrypted.headfields import read_flag, read_parameters, read_start, write_parameters, write_start
from stfed.encrypted.parameters import Parameters
from stfed.errors import MalformedError
from stfed.files import Readable, read_bytes
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.sealed import times
from stfed.sealed.bounds import SIGNERS_MAX
from stfed.sealed.errors import TamperedError
from stfed.wire import Reader

_MAGIC = b"stfed-ckks-public\n"
_HEAD_MAX_BYTES = 64 << 10
"""Eight hybrid signers, with their keys, take 53 KiB."""
_TEXT_MAX_BYTES = 8 << 10
_AGAIN = "get the file again, from the owner of the keys"

Blobs = tuple[bytes, bytes | None, bytes | None]


@dataclass(frozen=True)
class PublicHead:
    """What everybody can read of such a file.

    Attributes:
        parameters: the set.
        relin: whether there are relinearisation keys.
        galois: whether there are Galois keys.
        fingerprint: of parameters and keys.
        time: of writing.
        signers: who vouches for it.
        signatures: one each.
    """

    parameters: Parameters
    relin: bool
    galois: bool
    fingerprint: bytes
    time: datetime
    signers: tuple[VerifyingKey, ...] = ()
    signatures: tuple[bytes, ...] = ()

    @property
    def _signed(self) -> tuple[bytes, ...]:
        """What every signer signs: which keys, when, and who else does."""
        return (self.fingerprint, times.written(self.time).encode(), *(str(key).encode() for key in self.signers))

    def signed(self, signers: Sequence[SigningKey]) -> Self:
        """With signatures by these."""
        named = replace(self, signers=tuple(key.public for key in signers))
        return replace(named, signatures=tuple(key.sign(Label.CKKS_PUBLIC, *named._signed) for key in signers))

    def verify(self) -> None:
        """Holds every signature against the fingerprint. That it is the fingerprint of the keys in the file, `read_blobs` checks.

        Raises:
            TamperedError: one does not verify.
        """
        for key, signature in zip(self.signers, self.signatures, strict=True):
            try:
                key.verify(signature, Label.CKKS_PUBLIC, *self._signed)
            except BadSignatureError as error:
                raise TamperedError(error.message, hint=_AGAIN) from None

    def encode(self) -> bytes:
        """The first bytes of the file."""
        writer = write_start(_MAGIC)
        write_parameters(writer, self.parameters)
        writer.u8(self.relin).u8(self.galois).fixed(self.fingerprint, DIGEST_BYTES).text(times.written(self.time))
        pairs = list(zip(self.signers, self.signatures, strict=True))
        return writer.vector(pairs, lambda out, pair: out.text(str(pair[0])).opaque(pair[1])).getvalue()

    @classmethod
    def read(cls, file: Readable) -> tuple[Self, int]:
        """The head of a file, and where it ends.

        Raises:
            DecodeError: it is none, or the file has not the length that it says.
        """
        reader = Reader(read_bytes(file, 0, min(file.size_bytes, _HEAD_MAX_BYTES)), "public context file")
        available = reader.remaining
        read_start(reader, _MAGIC)
        parameters = read_parameters(reader)
        relin, galois = read_flag(reader, "relin"), read_flag(reader, "galois")
        digest = reader.fixed(DIGEST_BYTES, "fingerprint")
        time = times.read(reader.text("time", max_bytes=32), "the time of writing")
        pairs = reader.vector("signatures", _read_signature, max_items=SIGNERS_MAX, item_min_bytes=8)
        signers = tuple(key for key, _ in pairs)
        if len(set(signers)) < len(signers):
            raise reader.fail("signatures", "has a signer twice")
        head = cls(parameters, relin, galois, digest, time, signers, tuple(signature for _, signature in pairs))
        start = available - reader.remaining
        if file.size_bytes != start + sum(head._lengths):
            raise MalformedError(f"public context file: {file.size_bytes} bytes, these keys take {start + sum(head._lengths)}")
        return head, start

    def read_blobs(self, file: Readable, start: int) -> Blobs:
        """The words of the keys; TamperedError if they are not those of the fingerprint."""
        blobs = list[bytes]()
        for length in self._lengths:
            blobs.append(read_bytes(file, start, start + length))
            start += length
        public, relin, galois = blobs
        found: Blobs = public, relin or None, galois or None
        if fingerprint(self.parameters, found) != self.fingerprint:
            raise TamperedError("the keys in the file are not those of its fingerprint", hint=_AGAIN)
        return found

    @property
    def _lengths(self) -> tuple[int, int, int]:
        """Of the words of public, relinearisation and Galois keys."""
        relin, galois = keywords.relin_bytes(self.parameters), keywords.galois_bytes(self.parameters)
        return keywords.public_bytes(self.parameters), relin * self.relin, galois * self.galois


def _read_signature(reader: Reader) -> tuple[VerifyingKey, bytes]:
    text = reader.text("signer", max_bytes=_TEXT_MAX_BYTES)
    key = VerifyingKey.from_string(text)
    if str(key) != text:
        raise reader.fail("signer", "is not in lower case")
    return key, reader.opaque("signature", max_bytes=_TEXT_MAX_BYTES)
