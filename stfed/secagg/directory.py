"""The directory: the signed JOINs of one epoch, the same on every party, and the digests that bind a round to it.

An index is a position in the directory, which is sorted by identity. Everything later names parties by index and is bound, through the
cohort digest inside the transcript, to the exact JOIN messages behind the indices: a coordinator that shows two parties different
directories gets noise from both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

from stfed.crypto import agreement, identity
from stfed.crypto.kdf import digest, framed
from stfed.crypto.labels import Label
from stfed.errors import LocalError, PeerError, shown
from stfed.secagg.messages import Header, Join, encode_parties
from stfed.secagg.params import Mode
from stfed.secagg.refusals import (
    DirectoryError,
    DuplicateKeyError,
    DuplicateMemberError,
    UnknownPartyError,
    UnsignedJoinError,
    WeakKeyError,
)
from stfed.secagg.roster import MemberRoster
from stfed.wire import Records


def check_join(join: Join, header: Header, mode: Mode) -> None:
    """Refuses one JOIN that cannot stand in the directory of this epoch.

    Raises:
        WeakKeyError: its public key has low order, or is not canonically encoded.
        UnsignedJoinError: malicious mode, and it is not signed by the identity that it names.
        DirectoryError: it belongs to another run, epoch or suite, or is signed in semi-honest mode.
    """
    if join.header != header:
        raise DirectoryError(f"the JOIN of party {_name(join)} belongs to another run, epoch or suite", party=_name(join))
    if agreement.is_low_order(join.public_key):
        raise WeakKeyError(f"the public key of party {_name(join)} has low order", party=_name(join))
    if not agreement.is_canonical(join.public_key):
        # Two encodings of one point would pass for two different keys.
        raise WeakKeyError(f"the public key of party {_name(join)} is not in its canonical encoding", party=_name(join))
    if mode is Mode.MALICIOUS:
        try:
            identity.verify(join.identity, join.signature, Label.SIGN_MESSAGE, join.unsigned())
        except PeerError:
            raise UnsignedJoinError(f"the JOIN of party {_name(join)} is not signed by its identity", party=_name(join)) from None
    elif join.signature:
        # One encoding per JOIN and mode: an ignored signature would be a field that two parties could see differently.
        raise DirectoryError(f"the JOIN of party {_name(join)} is signed, but the run is semi-honest", party=_name(join))


def _name(join: Join) -> str:
    return identity.fingerprint(join.identity)


@lru_cache(maxsize=2)
def _check_entries(header: Header, mode: Mode, entries: tuple[bytes, ...]) -> None:
    """Cached, because all parties of a simulation check the same directory in one process: n * n JOINs otherwise."""
    joins = list(map(_decoded, entries))
    if not joins:
        raise DirectoryError("the directory is empty")
    if any(right.identity <= left.identity for left, right in pairwise(joins)):
        raise DirectoryError("the directory is not sorted by identity, or names an identity twice")
    if len({join.public_key for join in joins}) != len(joins):
        raise DuplicateKeyError("two parties of the directory have the same public key")
    for join in joins:
        check_join(join, header, mode)


@lru_cache(maxsize=2)
def _cohort_digest(header: Header, data: bytes, cohort: tuple[int, ...], entry_bytes: int) -> bytes:
    """Cached for the same reason."""
    start = framed(Label.JOIN) + entry_bytes.to_bytes(4, "big")  # of every `digest(Label.JOIN, entry)`
    members = b"".join(sha256(start + data[entry_bytes * index : entry_bytes * (index + 1)]).digest() for index in cohort)
    return digest(Label.COHORT, header.encode(), encode_parties(cohort), members)


@lru_cache(maxsize=1 << 15)
def _decoded(entry: bytes) -> Join:
    """Cached, because every PREPARE of malicious mode looks at the identity of everybody in the cohort."""
    return Join.decode(entry)


@dataclass(frozen=True, slots=True)
class Directory:
    """The JOINs of one epoch.

    Attributes:
        header: the header that all of them carry.
        mode: semi-honest (unsigned) or malicious (each signed by its identity).
        encoded: the JOIN messages as they were sent, sorted by identity; a party's index is its position here. All of them have the same
            size, since all are signed, or none is.
    """

    header: Header
    mode: Mode
    encoded: Records[bytes] = field(repr=False)

    @classmethod
    def of(cls, header: Header, mode: Mode, encoded: Sequence[bytes]) -> Directory:
        """Decodes and checks a directory. (The constructor takes one that was checked before, out of a party's own store.)

        Raises:
            DecodeError: an entry is no JOIN.
            DirectoryError, DuplicateKeyError, WeakKeyError: as their names say.
        """
        entries = tuple(map(bytes, encoded))
        _check_entries(header, mode, entries)
        return cls(header, mode, Records(b"".join(entries), len(entries[0]), bytes))

    def __len__(self) -> int:
        return len(self.encoded)

    def join(self, index: int) -> Join:
        """The JOIN of a party."""
        return _decoded(self.encoded[index])

    def name(self, index: int) -> str:
        """The short readable name of a party: its identity's fingerprint."""
        return identity.fingerprint(self.join(index).identity)

    def index_of(self, join: bytes) -> int:
        """Where this very JOIN stands.

        Raises:
            DirectoryError: it does not stand in the directory.
        """
        at = self.encoded.data.find(join)
        while at % self.encoded.size_bytes:  # -1, which is nowhere, is one too
            if at < 0:
                raise DirectoryError("this party's own JOIN is not in the directory")
            at = self.encoded.data.find(join, at + 1)
        return at // self.encoded.size_bytes

    def check_members(self, roster: MemberRoster | None, parties: Iterable[int]) -> None:
        """Refuses parties that are not on the roster, now; in malicious mode. Asked for the whole directory once, and for every cohort.

        Raises:
            UnknownIdentityError, ExpiredIdentityError, RevokedIdentityError: the roster does not have this identity as a party now.
            DuplicateMemberError: two identities belong to one member, whose old key is still good: it would count twice.
            LocalError: malicious mode without a roster.
        """
        if self.mode is not Mode.MALICIOUS:
            return
        if roster is None:
            raise LocalError("malicious mode needs the roster on every party", hint="name the roster file in the node's config")
        names: set[str] = set()
        for index in parties:
            name = roster.member(self.join(index).identity)
            if name in names:
                raise DuplicateMemberError(f"two parties of the directory are {shown(name)}", party=name)
            names.add(name)

    def check_known(self, parties: tuple[int, ...], what: str) -> None:
        """Refuses a set with an index outside the directory."""
        if parties and parties[-1] >= len(self):
            raise UnknownPartyError(f"{what} names party {parties[-1]}, the directory has {len(self)}")

    def cohort_digest(self, cohort: tuple[int, ...]) -> bytes:
        """32 bytes that stand for exactly these parties with exactly these JOINs."""
        return _cohort_digest(self.header, self.encoded.data, cohort, self.encoded.size_bytes)
