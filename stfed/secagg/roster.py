"""Who may take part in malicious mode: the roster, pinned on every party and never taken from the coordinator.

Without it a coordinator invents parties until a victim is alone among them. The core asks two things of a roster: how many parties it has,
which is what the corrupt share gamma is a share of, and whose an identity is, now. `PartyRoster` is the one over a roster file.

N counts every member that has the role "party" and a signing key, whether their keys are valid now or not: then it is the same on every
clock, and what is counted too much makes the bounds stricter. Members who left for good are taken out of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from stfed.keys.member import Role
from stfed.keys.roster import Roster
from stfed.keys.rules import RosterError
from stfed.keys.signing import Kind, VerifyingKey
from stfed.secagg.refusals import DirectoryError, ExpiredIdentityError, RevokedIdentityError, UnknownIdentityError

Clock = Callable[[], datetime]
_REFUSALS: dict[str, type[DirectoryError]] = {
    "revoked": RevokedIdentityError,
    "not-before": ExpiredIdentityError,
    "not-after": ExpiredIdentityError,
    "retired": ExpiredIdentityError,
}


def system_clock() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


class MemberRoster(Protocol):
    """What the protocol asks of a roster."""

    def __len__(self) -> int:
        """N, the parties from which the coordinator can choose."""
        ...

    def member(self, identity: bytes) -> str:
        """The name of the party whose Ed25519 identity this is.

        Raises:
            UnknownIdentityError, ExpiredIdentityError, RevokedIdentityError: it is nobody's who may take part now.
        """
        ...


class PartyRoster:
    """The parties of a roster file.

    A party whose key on the roster is a hybrid one takes part with its Ed25519 half: the suite's signatures are Ed25519 alone.

    Args:
        roster: the file's content.
        clock: asked at every look-up, so that a key that expires during a run is out from then on.
    """

    def __init__(self, roster: Roster, clock: Clock = system_clock) -> None:
        self._roster, self._clock = roster, clock
        keys = [*(member.signing for member in roster.members), *(entry.signing for entry in roster.retired)]
        self._keys = {key.ed25519: key for key in keys if key is not None}
        self._size = sum(Role.PARTY in member.roles and member.signing is not None for member in roster.members)

    def __len__(self) -> int:
        """See `MemberRoster`."""
        return self._size

    @property
    def fingerprint(self) -> str:
        """Of the whole roster, for people to compare."""
        return self._roster.fingerprint

    def key(self, identity: bytes) -> VerifyingKey:
        """A party's key as the roster has it, of which the identity may be one half."""
        return self._keys.get(identity) or VerifyingKey(Kind.ED25519, identity)

    def member(self, identity: bytes) -> str:
        """See `MemberRoster`."""
        key = self.key(identity)
        try:
            return self._roster.check(key, Role.PARTY, self._clock()).name
        except RosterError as error:
            raise _REFUSALS.get(error.rule, UnknownIdentityError)(error.message, party=key.fingerprint, hint=error.hint) from None
