"""Checkpoints (c2sp.org/tlog-checkpoint): what a log says that it holds, in three lines, signed.

    <origin>            which log
    <size>              how many entries
    <root>              the root of their Merkle tree, base64

A log's own signature says "this is my history"; cosignatures say "I saw it grow to there". Two checkpoints of one size with different
roots, both signed by the log, prove that it tells two histories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from stfed.audit.errors import ForkError, UntrustedError
from stfed.audit.merkle import EMPTY_ROOT, HASH_BYTES
from stfed.audit.note import Note, base64_bytes, base64_text, decimal
from stfed.audit.signatures import Algorithm, Signer, VerifierKey, keys, sign, verified
from stfed.errors import MalformedError, shown


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log.

    Attributes:
        origin: the log's name.
        size: number of entries.
        root: 32 bytes.
        extensions: further lines that the log signed; ours have none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Reads the text of a note.

        Raises:
            MalformedError: if it is no checkpoint, or says that an empty log has any root but that of nothing.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise MalformedError("a checkpoint has three lines or more, none of them empty: origin, size, root")
        size, root = decimal(lines[1], "the size in the checkpoint"), base64_bytes(lines[2], "the root in the checkpoint")
        if len(root) != HASH_BYTES or (not size and root != EMPTY_ROOT):
            raise MalformedError(f"the root in the checkpoint is no root of {size} entries")
        return cls(lines[0], size, root, tuple(lines[3:]))

    @property
    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, base64_text(self.root), *self.extensions))

    def signed(self, signer: Signer) -> SignedCheckpoint:
        """This checkpoint as a note, signed for the log of its origin; LocalError if no note can carry that name."""
        return SignedCheckpoint(self, Note(self.text, (sign(self.text, self.origin, signer),)))


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint with the note that it came in. Reading one says nothing about who signed it: `verify` does."""

    checkpoint: Checkpoint
    note: Note

    @classmethod
    def parse(cls, data: str | bytes) -> Self:
        """Reads a signed checkpoint; MalformedError if it is none."""
        note = Note.parse(data)
        return cls(Checkpoint.from_text(note.text), note)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.checkpoint.origin

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root of their tree."""
        return self.checkpoint.root

    def verify(self, trusted: Iterable[VerifierKey | str], *, origin: str | None = None, quorum: int = 0) -> Mapping[VerifierKey, datetime]:
        """Returns if the log signed this and at least `quorum` others cosigned it: who did, and when.

        Args:
            trusted: the keys that count, of cosigners (type 0x04) and of logs (0x01), each for the log whose origin is its name.
            origin: the log that it must be from; any log whose key is trusted if None.
            quorum: how many different cosigner keys must have signed.

        Raises:
            UntrustedError: if a signature is missing.
            BadSignatureError: if a signature that claims to be by a trusted key is not.
        """
        if origin not in (None, self.origin):
            raise UntrustedError(f"this is a checkpoint of the log {shown(self.origin)}, not of {shown(origin)}")
        known = [key for key in keys(trusted) if key.algorithm is Algorithm.COSIGNATURE or key.name == self.origin]
        signed_by = verified(self.note, known)
        if not any(key.algorithm is Algorithm.NOTE for key in signed_by):
            raise UntrustedError(f"the log {shown(self.origin)} has not signed this checkpoint with a trusted key")
        cosigned = {key: time for key, time in signed_by.items() if time is not None}
        count = len({key.public for key in cosigned})  # one key under two names is one cosigner
        if count < quorum:
            raise UntrustedError(f"{count} of the trusted cosigners have signed this checkpoint, and {quorum} are required")
        return cosigned

    def check_same_history(self, other: SignedCheckpoint) -> None:
        """Returns unless this and `other` are two histories of one log. The caller has verified both, else they prove nothing.

        Raises:
            ForkError: with the evidence.
        """
        if (self.origin, self.size) == (other.origin, other.size) and self.root != other.root:
            raise ForkError(
                f"the log {shown(self.origin)} has signed two histories of {self.size} entries",
                first=str(self),
                second=str(other),
                hint="keep both checkpoints: they prove it to anybody who has the log's key",
            )

    def __str__(self) -> str:
        return str(self.note)
