"""The roster: who is who, with which keys, in which roles, for how long. The one file of public keys that trust hangs on.

A roster never changes; `add`, `remove`, `rotate` and `revoke` return another one. `check` is the one place where a key is judged, and its
refusal says by which rule of `stfed.keys.rules`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self

from stfed import canonical
from stfed.crypto import kdf
from stfed.crypto.labels import Label
from stfed.errors import LocalError, MalformedError, about, shown
from stfed.files import replacing
from stfed.keys import roster_toml
from stfed.keys.encryption import Recipient
from stfed.keys.fingerprint import grouped
from stfed.keys.member import Member, PublicKey, Retired, Revoked, Role, check_name, check_time, folded
from stfed.keys.rules import KeyIndex, checked_roles
from stfed.keys.signing import VerifyingKey
from stfed.keys.smallfile import read_private

MAX_MEMBERS = 10_000


@dataclass(frozen=True, eq=False)
class Roster(roster_toml.Content):
    """A roster that keeps its own rules. Two are equal if they say the same, in whatever order.

    Raises:
        LocalError: on being made, if two members' names look alike, a key occurs twice, a retired key is nobody's, or there are too many
            entries. The Ed25519 half of a hybrid key counts as that key: who registers it as their own could claim the other's signatures.
    """

    members: tuple[Member, ...] = ()
    retired: tuple[Retired, ...] = ()
    revoked: tuple[Revoked, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        if max(len(self.members), len(self.retired), len(self.revoked)) > MAX_MEMBERS:
            raise LocalError(f"a roster has at most {MAX_MEMBERS} entries of each sort")
        names: dict[str, str] = {}
        for member in self.members:
            alike = folded(member.name)
            if alike in names:
                raise LocalError(f"two members have the same name, or nearly so: {shown(names[alike])} and {shown(member.name)}")
            names[alike] = member.name
        _ = self._index  # its rules are this roster's

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """The roster in a file.

        Raises:
            LocalError: there is no such file, or somebody else may change or replace it: see `stfed.files.check_private`.
            MalformedError: it is no roster.
        """
        try:
            data = read_private(Path(path), roster_toml.MAX_BYTES)
        except FileNotFoundError:
            raise LocalError(f"there is no roster {path}", hint="`stfed roster` makes one") from None
        with about(f"{path} is no roster"):
            return cls.from_toml(data)

    @classmethod
    def from_toml(cls, data: bytes) -> Self:
        """The roster in a text, wherever that comes from; MalformedError if it is none."""
        try:
            return cls(**vars(roster_toml.read(data)))
        except LocalError as error:
            raise MalformedError(error.message, hint=error.hint) from None

    def to_toml(self) -> bytes:
        """The text, in its one order; LocalError if it is too long to be read again."""
        return roster_toml.write(self)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Puts the roster into a file, whole or not at all; a file that is there keeps its mode, a new one gets 0644."""
        data = self.to_toml()
        mode = stat.S_IMODE(Path(path).stat().st_mode) & ~0o022 if Path(path).exists() else 0o644
        with replacing(path) as file:
            file.write_at(0, data)
        Path(path).chmod(mode)

    def digest(self) -> bytes:
        """32 bytes that stand for everything the roster says: SHA-256 over its content as canonical JSON, framed with a label."""
        return self._digest

    @property
    def fingerprint(self) -> str:
        """80 bits of the digest, for people to compare."""
        return grouped(self._digest)

    def member(self, name: str) -> Member | None:
        """The member of this name."""
        return next((member for member in self.members if member.name == name), None)

    def by_signing(self, key: VerifyingKey) -> Member | None:
        """Whose key this is or was. That says nothing about whether it may be used: `check` does."""
        return self._index.holders.get(key, (None, None))[0]

    def by_recipient(self, key: Recipient) -> Member | None:
        """Whose key this is or was, likewise."""
        return self._index.holders.get(key, (None, None))[0]

    def check(self, key: PublicKey, role: str, now: datetime) -> Member:
        """Returns the member whose key this is, if they may use it in this role at this moment.

        Raises:
            RosterError: they may not; `rule` says why.
            LocalError: there is no such role, or the moment has no time zone.
        """
        check_time(now, "now")
        return self._index.check(key, checked_roles(role), now)

    def recipients(self, role: str = Role.RECIPIENT, *, now: datetime) -> list[Recipient]:
        """The keys to seal to, of all members with this role, in the order of the roster."""
        return [key for key in self._allowed(role, now) if isinstance(key, Recipient)]

    def verifiers(self, roles: str | Iterable[str], now: datetime) -> list[VerifyingKey]:
        """The keys whose signatures from this moment count, of all members with one of these roles; retired ones where they still do."""
        return [key for key in self._allowed(roles, now) if isinstance(key, VerifyingKey)]

    def add(self, member: Member) -> Self:
        """With one more member; LocalError if a key of theirs is revoked, or a rule of the roster broken."""
        self._refuse_revoked(member.encryption, member.signing)
        return replace(self, members=(*self.members, member))

    def remove(self, name: str) -> Self:
        """Without this member and the keys they had before; nothing they signed verifies any more. Revocations stay."""
        gone = self._named(name)
        return replace(
            self,
            members=tuple(member for member in self.members if member is not gone),
            retired=tuple(entry for entry in self.retired if entry.name != name),
        )

    def rotate(self, name: str, *, encryption: Recipient | None = None, signing: VerifyingKey | None = None, at: datetime) -> Self:
        """With new keys for a member; the ones that they replace are retired at this moment."""
        member = self._named(name)
        if not (encryption or signing):
            raise LocalError(f"no new key is given for {shown(name)}", hint="give encryption or signing, or both")
        self._refuse_revoked(encryption, signing)
        old_encryption, old_signing = member.encryption if encryption else None, member.signing if signing else None
        retired = (Retired(name, at, old_encryption, old_signing),) if old_encryption or old_signing else ()
        new = replace(member, encryption=encryption or member.encryption, signing=signing or member.signing)
        return replace(self, members=tuple(new if one is member else one for one in self.members), retired=(*self.retired, *retired))

    def revoke(self, who: str, at: datetime, reason: str = "") -> Self:
        """With keys revoked: all that a member has or had, or the one with this fingerprint or text.

        Raises:
            LocalError: nobody here has that name or key, or everything that is meant is revoked already.
        """
        holders = self._index.holders
        meant = [key for key in holders if who in (holders[key][0].name, key.fingerprint, str(key))]
        if not meant:
            raise LocalError(f"nobody in {shown(self.name)} has the name or the key {shown(who)}", hint="give a name or a fingerprint")
        new = [Revoked(holders[key][0].name, key.fingerprint, at, reason) for key in meant if not self._index.revocation(key)]
        if not new:
            raise LocalError(f"{shown(who)} is revoked already")
        return replace(self, revoked=(*self.revoked, *new))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    @cached_property
    def _index(self) -> KeyIndex:
        return KeyIndex(self.members, self.retired, self.revoked)

    @cached_property
    def _digest(self) -> bytes:
        return kdf.digest(Label.ROSTER, canonical.encode(_as_json(self.tables())))

    def _allowed(self, roles: str | Iterable[str], now: datetime) -> list[PublicKey]:
        check_time(now, "now")
        return self._index.allowed(checked_roles(roles), now)

    def _named(self, name: str) -> Member:
        member = self.member(name)
        if member is None:
            raise LocalError(f"{shown(self.name)} has no member {shown(name)}")
        return member

    def _refuse_revoked(self, *keys: PublicKey | None) -> None:
        for key in keys:
            if key and self._index.revocation(key):
                raise LocalError(f"the key {key.fingerprint} is revoked", hint="a revoked key does not come back; make a new one")


def _as_json(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value
