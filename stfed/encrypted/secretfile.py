"""The file of a secret context as bytes: what everybody can read of it, and the secret key, under a passphrase or not; no SEAL here.

    magic, version, parameters, fingerprint, cost and salt of the passphrase;
    then the words of the secret key and a digest (32 bytes), or commitment (32), nonce (12), ciphertext, tag (16)

Argon2id stretches the passphrase, HKDF makes two keys of the result, as in `stfed.keys.armor` and for its reasons: AES-256-GCM under one,
with all that stands before as associated data, and the other is the commitment. The digest shows accidents; whoever may write the file can
write another digest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from stfed.crypto import aead, kdf
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy, system_entropy
from stfed.encrypted import keywords
from stfed.encrypted.headfields import read_flag, read_parameters, read_start, write_parameters, write_start
from stfed.encrypted.parameters import Parameters
from stfed.errors import MalformedError
from stfed.keys.passphrase import SALT_BYTES, Cost, Passphrase, PassphraseError, derive
from stfed.sealed.errors import TamperedError
from stfed.wire import Reader

MAGIC = b"stfed-ckks-secret\n"
MAX_BYTES = 8 << 20
"""The largest parameters have 3.6 MB."""


@dataclass(frozen=True, repr=False)
class SecretFile:
    """The content of such a file.

    Attributes:
        parameters: the set.
        fingerprint: of the evaluation context that belongs to it.
        cost: of a guess at the passphrase; None if there is none.
        salt: of the passphrase; empty if there is none.
        body: the words of the secret key, or what they became.
    """

    parameters: Parameters
    fingerprint: bytes
    cost: Cost | None
    salt: bytes
    body: bytes

    @classmethod
    def plain(cls, parameters: Parameters, fingerprint: bytes, words: bytes) -> Self:
        """Without a passphrase."""
        head = cls(parameters, fingerprint, None, b"", b"")
        return replace(head, body=words + head._digest(words))

    @classmethod
    def protected(
        cls, parameters: Parameters, fingerprint: bytes, words: bytes, passphrase: Passphrase, cost: Cost, entropy: Entropy = system_entropy
    ) -> Self:
        """Under a passphrase. The floor of the cost is the caller's to check."""
        head = cls(parameters, fingerprint, cost, entropy(SALT_BYTES), b"")
        key, commitment = head._keys(passphrase, cost)
        return cls(parameters, fingerprint, cost, head.salt, commitment + aead.seal_random(key, words, head._bound, entropy))

    def open(self, passphrase: Passphrase | None) -> bytes:
        """The words of the secret key.

        Raises:
            PassphraseError: a passphrase is needed, and none or a wrong one is given.
            TamperedError: it is the right one or there is none, but the file was changed.
        """
        if self.cost is None:
            words, found = self.body[: -kdf.DIGEST_BYTES], self.body[-kdf.DIGEST_BYTES :]
            if not kdf.equal(found, self._digest(words)):
                raise TamperedError("the secret key is not the one that was written: the file has been damaged")
            return words
        if passphrase is None:
            raise PassphraseError("it is under a passphrase, and none was given", hint="passphrase='...', or what asks for it")
        key, commitment = self._keys(passphrase, self.cost)
        if not kdf.equal(commitment, self.body[: kdf.DIGEST_BYTES]):
            raise PassphraseError("the passphrase does not fit", hint="try again; upper and lower case count")
        try:
            return aead.open_random(key, self.body[kdf.DIGEST_BYTES :], self._bound)
        except aead.AuthenticationError:
            raise TamperedError("the passphrase fits, but the file has been changed") from None

    def encode(self) -> bytes:
        """The file."""
        return self._head + self.body

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads what `encode` writes and nothing else; DecodeError, before any work, for a cost over the ceiling."""
        reader = Reader(data, "secret context file")
        read_start(reader, MAGIC)
        parameters = read_parameters(reader)
        fingerprint = reader.fixed(kdf.DIGEST_BYTES, "fingerprint")
        cost, salt, length = None, b"", keywords.secret_bytes(parameters) + kdf.DIGEST_BYTES
        if read_flag(reader, "protected"):
            cost = Cost(reader.u32("memory"), reader.u32("iterations"), reader.u32("lanes"))
            salt = reader.fixed(SALT_BYTES, "salt")
            length += aead.NONCE_BYTES + aead.TAG_BYTES
        if reader.remaining != length:
            raise MalformedError(f"secret context file: {reader.remaining} bytes follow its head, {length} are due")
        return cls(parameters, fingerprint, cost, salt, reader.fixed(length, "body"))

    @property
    def _head(self) -> bytes:
        writer = write_start(MAGIC)
        write_parameters(writer, self.parameters)
        writer.fixed(self.fingerprint, kdf.DIGEST_BYTES).u8(self.cost is not None)
        if self.cost is not None:
            writer.u32(self.cost.memory_kib).u32(self.cost.iterations).u32(self.cost.lanes).fixed(self.salt, SALT_BYTES)
        return writer.getvalue()

    @property
    def _bound(self) -> bytes:
        return kdf.framed(Label.CKKS_SECRET, self._head)

    def _digest(self, words: bytes) -> bytes:
        return kdf.digest(Label.CKKS_SECRET_WORDS, self._head, words)

    def _keys(self, passphrase: Passphrase, cost: Cost) -> tuple[bytes, bytes]:
        stretched = derive(passphrase, self.salt, cost)
        return kdf.derive(stretched, Label.CKKS_SECRET_KEY), kdf.derive(stretched, Label.CKKS_SECRET_COMMITMENT)

    def __repr__(self) -> str:
        return f"<SecretFile of {self.fingerprint.hex()[:16]}>"
