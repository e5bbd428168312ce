"""The judgement over one key of a roster. The rules, in this order; the first that is broken counts:

    revoked      the key is on the revocation list: refused for all times and roles
    unknown      no member has this key
    role         its member has not the role that is asked for
    not-before   the moment lies before the member's window
    not-after    the moment lies behind it
    retired      the key was rotated out before that moment; a key for encryption that was rotated out is always refused

The moment is the present where something is done now, and the time that was signed where something old is verified. That time is the
signer's own statement: against a stolen key it proves nothing, which is why revocation looks at no time at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from stfed.errors import LocalError, StfedError, shown
from stfed.keys.encryption import Recipient
from stfed.keys.member import Member, PublicKey, Retired, Revoked, Role


class RosterError(StfedError):
    """The roster does not allow this key here.

    Attributes:
        rule: "revoked", "unknown", "role", "not-before", "not-after" or "retired".
    """

    def __init__(self, rule: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{message} (rule: {rule})", hint=hint)
        self.rule = rule


class KeyIndex:
    """All keys of a roster with whose they are; a signing key may occur once, by itself or as half of a hybrid one.

    Attributes:
        holders: the member of each key, and the entry by which it was retired, if it was; current keys first.

    Raises:
        LocalError: on being made, if a key occurs twice, or a retired one is of no member. Who registers the Ed25519 half of somebody
            else's hybrid key as their own could claim that person's signatures, so it counts as the same key.
    """

    def __init__(self, members: Iterable[Member], retired: Iterable[Retired], revoked: Iterable[Revoked]) -> None:
        self.holders: dict[PublicKey, tuple[Member, Retired | None]] = {}
        self._revocations = {entry.fingerprint: entry for entry in revoked}
        taken: dict[Recipient | bytes, str] = {}
        by_name = {member.name: member for member in members}
        current = ((member, None, key) for member in by_name.values() for key in (member.encryption, member.signing))
        former = ((by_name.get(entry.name), entry, key) for entry in retired for key in (entry.encryption, entry.signing))
        for member, entry, key in (*current, *former):
            if member is None:
                raise LocalError(f"a retired key is of {shown(entry and entry.name)}, who is no member")
            if key is None:
                continue
            part = key if isinstance(key, Recipient) else key.ed25519
            if part in taken:
                raise LocalError(f"the key {key.fingerprint} occurs twice: for {shown(taken[part])} and for {shown(member.name)}")
            taken[part] = member.name
            self.holders[key] = member, entry

    def revocation(self, key: PublicKey) -> Revoked | None:
        """The entry by which this key is revoked, if it is."""
        return self._revocations.get(key.fingerprint) if self._revocations else None

    def check(self, key: PublicKey, roles: frozenset[str], now: datetime) -> Member:
        """The member whose key this is, if they may use it in one of these roles at this moment; RosterError if not."""
        refusal = self._refusal(key, roles, now)
        if refusal is not None:
            rule, who, reason = refusal
            hint = "compare the fingerprint with what its owner says, then add it to the roster" if rule == "unknown" else None
            raise RosterError(
                rule, f"the key {key.fingerprint} of {who} does not count as {' or '.join(sorted(roles))}: {reason}", hint=hint
            )
        return self.holders[key][0]

    def allowed(self, roles: frozenset[str], now: datetime) -> list[PublicKey]:
        """All keys that `check` lets pass."""
        return [key for key in self.holders if self._refusal(key, roles, now) is None]

    def _refusal(self, key: PublicKey, roles: frozenset[str], now: datetime) -> tuple[str, str, str] | None:
        """The first rule that is broken, who is concerned, and what to tell them; None if there is none."""
        revocation = self.revocation(key)
        if revocation is not None:
            because = f", because: {shown(revocation.reason)}" if revocation.reason else ""
            return "revoked", shown(revocation.name), f"it was revoked on {_time(revocation.at)}{because}"
        if key not in self.holders:
            return "unknown", "an unknown person", "no member has it"
        member, retired = self.holders[key]
        rule = reason = ""
        if not roles & member.roles:
            rule, reason = "role", f"its member is {', '.join(sorted(member.roles)) or 'without a role'}"
        elif member.not_before and now < member.not_before:
            rule, reason = "not-before", f"it counts from {_time(member.not_before)} on"
        elif member.not_after and now > member.not_after:
            rule, reason = "not-after", f"it counted until {_time(member.not_after)}"
        elif retired and (isinstance(key, Recipient) or now > retired.until):
            rule, reason = "retired", f"it was replaced on {_time(retired.until)}"
        return (rule, shown(member.name), reason) if rule else None


def checked_roles(roles: str | Iterable[str]) -> frozenset[str]:
    """One role or several; LocalError if there is none of that name."""
    wanted = frozenset([roles] if isinstance(roles, str) else roles)
    for role in sorted(wanted - frozenset(Role)):
        raise LocalError(f"there is no role {shown(role)}", hint=f"roles: {', '.join(Role)}")
    return wanted


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
