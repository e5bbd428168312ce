"""Secret keys under a passphrase: text that can stand in a key file where the keys would.

    -----BEGIN STFED ENCRYPTED KEY-----
    stfed-key-1 argon2id m=65536,t=3,p=4 c2FsdHNhbHRzYWx0c2FsdA==
    base64, in lines of 64: commitment (32 bytes), nonce (12), ciphertext, tag (16)
    -----END STFED ENCRYPTED KEY-----

Argon2id stretches the passphrase, HKDF makes two keys of the result: AES-256-GCM under one, and the other is the commitment. GCM alone
does not commit to its key: a planted file could open under many passphrases at once, and whether it opens would tell which of them is the
user's ("Partitioning Oracle Attacks", Len, Grubbs, Ristenpart 2021). It also tells a wrong passphrase from a changed file. The comments
that stand before the block, with the public keys, are associated data: one does not read keys there that are not inside.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from stfed.crypto import aead, kdf
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import MalformedError
from stfed.keys.passphrase import SALT_BYTES, Cost, Passphrase, PassphraseError, derive

BEGIN = "-----BEGIN STFED ENCRYPTED KEY-----"
END = "-----END STFED ENCRYPTED KEY-----"
_VERSION = "stfed-key-1"
_COLUMNS = 64
_MIN_BODY_BYTES = kdf.DIGEST_BYTES + aead.NONCE_BYTES + aead.TAG_BYTES


@dataclass(frozen=True)
class Protected:
    """What lies in the block.

    Attributes:
        cost: of one guess at the passphrase.
        salt: 16 bytes.
        body: commitment, nonce, ciphertext, tag.
    """

    cost: Cost
    salt: bytes
    body: bytes

    @classmethod
    def seal(cls, text: str, comments: Sequence[str], passphrase: Passphrase, cost: Cost, *, entropy: Entropy = system_entropy) -> Self:
        """Protects `text`, and binds `comments` to it. The floor of the cost is the caller's to check."""
        salt = entropy(SALT_BYTES)
        key, commitment = _keys(passphrase, salt, cost)
        return cls(cost, salt, commitment + aead.seal_random(key, text.encode("ascii"), _bound(comments), entropy))

    def open(self, comments: Sequence[str], passphrase: Passphrase) -> str:
        """The text that was protected.

        Raises:
            PassphraseError: the passphrase is another one.
            MalformedError: it is the right one, but the block or the comments have been changed.
        """
        key, commitment = _keys(passphrase, self.salt, self.cost)
        stored, sealed = self.body[: kdf.DIGEST_BYTES], self.body[kdf.DIGEST_BYTES :]
        if not kdf.equal(commitment, stored):
            raise PassphraseError("the passphrase does not fit", hint="try again; upper and lower case count")
        try:
            return aead.open_random(key, sealed, _bound(comments)).decode("ascii")
        except (aead.AuthenticationError, UnicodeDecodeError):
            raise MalformedError("the passphrase fits, but the protected key or the comments above it have been changed") from None

    @classmethod
    def from_lines(cls, lines: Sequence[str]) -> Self:
        """Reads what `str` writes, split into lines, and nothing else; MalformedError, before any work, for a cost over the ceiling."""
        words = lines[1].split(" ") if len(lines) > 1 else []
        if len(words) != 4 or words[:2] != [_VERSION, "argon2id"]:
            raise MalformedError("the protected key is of no version that can be read here", hint=f"it begins with `{_VERSION} argon2id`")
        cost = Cost.from_string(words[2])
        try:
            salt, body = base64.b64decode(words[3]), base64.b64decode("".join(lines[2:-1]))
        except binascii.Error:
            raise MalformedError("the protected key is not base64") from None
        protected = cls(cost, salt, body)
        if str(protected).splitlines() != list(lines) or len(salt) != SALT_BYTES or len(body) < _MIN_BODY_BYTES:
            raise MalformedError("the protected key is cut off or not in its one form", hint="copy the file again, whole")
        return protected

    def __str__(self) -> str:
        parameters = f"{_VERSION} argon2id {self.cost} {base64.b64encode(self.salt).decode('ascii')}"
        letters = base64.b64encode(self.body).decode("ascii")
        return "\n".join([BEGIN, parameters, *(letters[at : at + _COLUMNS] for at in range(0, len(letters), _COLUMNS)), END])


def _keys(passphrase: Passphrase, salt: bytes, cost: Cost) -> tuple[bytes, bytes]:
    stretched = derive(passphrase, salt, cost)
    return kdf.derive(stretched, Label.KEY_FILE_KEY), kdf.derive(stretched, Label.KEY_FILE_COMMITMENT)


def _bound(comments: Sequence[str]) -> bytes:
    return kdf.framed(Label.KEY_FILE, *(comment.encode("ascii") for comment in comments))
