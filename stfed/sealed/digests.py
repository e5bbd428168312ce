"""The hash of every ciphertext segment of a signed file, as one list that the manifest commits to.

A reader copies the list once, checks the copy against the signed hash, and holds every segment against it before decrypting: a recipient
who knows the file key can still not change a byte for the others.
"""

from __future__ import annotations

import hashlib
from typing import Self

from stfed.crypto.kdf import equal, framed
from stfed.crypto.labels import Label
from stfed.errors import LocalError
from stfed.sealed.errors import TamperedError
from stfed.sealed.suites import DIGEST_BYTES, Hash, Suite


class Digests:
    """One hash a segment. Filled by a writer in any order; complete and checked from the start in a reader.

    Args:
        suite: of the file; one with a hash.
        listed: 32 bytes a segment.

    Attributes:
        slow: whether the hash is slower than writing to a file.
    """

    def __init__(self, suite: Suite, listed: bytearray) -> None:
        if suite.hash is None:
            raise LocalError(f"the suite {suite.name} has no digests")
        self._hash: Hash = suite.hash
        self.slow: bool = suite.slow
        self._listed = listed

    @classmethod
    def blank(cls, suite: Suite, count: int) -> Self:
        """A list to be filled."""
        return cls(suite, bytearray(count * DIGEST_BYTES))

    @classmethod
    def checked(cls, suite: Suite, listed: bytearray, expected_sha256: bytes) -> Self:
        """A list that was read, held against the manifest; TamperedError if it is another one."""
        digests = cls(suite, listed)
        if not equal(digests.sha256, expected_sha256):
            raise TamperedError("the list of segment digests is not the one that the manifest names")
        return digests

    @property
    def listed(self) -> memoryview:
        """The list as it stands in the file."""
        return memoryview(self._listed)

    @property
    def sha256(self) -> bytes:
        """Hash of the list, as the manifest has it: `digest(SEALED_DIGESTS, list)`, without copies of a list that may be long."""
        state = hashlib.sha256(framed(Label.SEALED_DIGESTS))
        state.update(len(self._listed).to_bytes(4, "big"))
        state.update(self._listed)
        return state.digest()

    def note(self, position: int, segment: memoryview) -> None:
        """Enters the hash of a segment just written."""
        self._listed[position * DIGEST_BYTES : (position + 1) * DIGEST_BYTES] = self._hash(segment)

    def check(self, position: int, segment: memoryview) -> None:
        """Returns if the segment is the one that was signed; TamperedError if not."""
        if not equal(self._hash(segment), bytes(self._listed[position * DIGEST_BYTES : (position + 1) * DIGEST_BYTES])):
            raise TamperedError(f"segment {position} is not the one that was signed: it was changed after sealing")
