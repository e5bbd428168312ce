"""What a roster is made of: members with their keys and roles, keys that were rotated out, keys that were revoked.

Each entry checks itself on being made; what concerns several entries is the business of `stfed.keys.roster`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from stfed.errors import LocalError, shown
from stfed.keys.encryption import Recipient
from stfed.keys.fingerprint import fingerprint
from stfed.keys.signing import VerifyingKey

MAX_NAME_LETTERS = 64
MAX_REASON_LETTERS = 256

PublicKey = Recipient | VerifyingKey

_FINGERPRINT = re.compile(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}")
_KEY_PREFIXES = ("age1", "stfedsig", "age-secret-key-", "stfed-signing-key-")


class Role(StrEnum):
    """What a member may do; a role is its name."""

    OWNER = "owner"
    RECIPIENT = "recipient"
    AUDITOR = "auditor"
    PARTY = "party"
    COORDINATOR = "coordinator"


@dataclass(frozen=True)
class Member:
    """Somebody, with at least one key.

    Attributes:
        name: up to 64 letters.
        roles: names of roles.
        encryption: what is sealed for them is sealed to this key; whoever has the role "recipient" has one.
        signing: what they sign verifies under this key.
        not_before: their keys are refused before this time.
        not_after: and from this time on.

    Raises:
        LocalError: an attribute breaks one of these rules, or a time has no zone.
    """

    name: str
    roles: frozenset[str]
    encryption: Recipient | None = None
    signing: VerifyingKey | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        for role in sorted(self.roles - frozenset(Role)):
            raise LocalError(f"there is no role {shown(role)}, which {shown(self.name)} is to have", hint=f"roles: {', '.join(Role)}")
        if not (self.encryption or self.signing):
            raise LocalError(f"{shown(self.name)} has no key", hint="give encryption or signing, or both")
        if Role.RECIPIENT in self.roles and not self.encryption:
            raise LocalError(f"{shown(self.name)} is to be a recipient and has no key to encrypt to", hint="give encryption = 'age1...'")
        for moment in (self.not_before, self.not_after):
            check_time(moment, self.name)
        if self.not_before and self.not_after and self.not_after <= self.not_before:
            raise LocalError(f"the keys of {shown(self.name)} are never valid: not_after is not later than not_before")


@dataclass(frozen=True)
class Retired:
    """Keys that a member had before others took their place: they verify what was signed until then, and nothing is sealed to them.

    Attributes:
        name: of the member.
        until: when they were rotated out.
        encryption: the old key, if it is this one that was rotated.
        signing: likewise.

    Raises:
        LocalError: there is no key, or the time has no zone.
    """

    name: str
    until: datetime
    encryption: Recipient | None = None
    signing: VerifyingKey | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_time(self.until, self.name)
        if not (self.encryption or self.signing):
            raise LocalError(f"a retired entry of {shown(self.name)} has no key")


@dataclass(frozen=True)
class Revoked:
    """A key that is refused for everything and for all times, whoever signed what with it and when.

    Attributes:
        name: of the member whose key it is, or was.
        key: its fingerprint, or the key as text.
        at: when it was revoked, for people to read; signatures from before are refused as well, because a thief can date them back.
        reason: up to 256 letters.

    Raises:
        LocalError: an attribute breaks one of these rules.
        MalformedError: `key` is neither a fingerprint nor a key.
    """

    name: str
    key: str
    at: datetime
    reason: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        check_time(self.at, self.name)
        if len(self.reason) > MAX_REASON_LETTERS or not _printable(self.reason):
            raise LocalError(f"the reason why a key of {shown(self.name)} is revoked is too long, or has control characters in it")
        if not _FINGERPRINT.fullmatch(self.key):
            parse_key(self.key)

    @property
    def fingerprint(self) -> str:
        """Of the key."""
        return self.key if _FINGERPRINT.fullmatch(self.key) else fingerprint(str(parse_key(self.key)))


def parse_key(text: str) -> PublicKey:
    """A public key of either sort from its text; MalformedError if it is none."""
    return VerifyingKey.from_string(text) if text.lower().startswith("stfed") else Recipient.from_string(text)


def check_name(name: str) -> None:
    """LocalError for a name that people could misread or mistake for a key: empty, too long, with invisible letters, not in NFC."""
    if not 0 < len(name) <= MAX_NAME_LETTERS:
        raise LocalError(f"the name {shown(name)} has {len(name)} letters", hint=f"names have 1 to {MAX_NAME_LETTERS}")
    if not _printable(name) or name != name.strip() or not unicodedata.is_normalized("NFC", name):
        raise LocalError(f"the name {shown(name)} has control or other invisible characters in it, or is not in Unicode's normal form C")
    if _FINGERPRINT.fullmatch(name) or name.lower().startswith(_KEY_PREFIXES):
        raise LocalError("a name looks like a key or a fingerprint", hint="give the member a name that is neither")


def check_time(moment: datetime | None, name: str) -> None:
    """LocalError for a time without a zone, which would mean another moment on every machine, or one that UTC cannot express."""
    if moment is None:
        return
    if moment.utcoffset() is None:
        raise LocalError(f"a time of {shown(name)} has no time zone", hint="write it in UTC, with a Z at the end")
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise LocalError(f"a time of {shown(name)} is before the year 1 or after the year 9999") from None


def folded(name: str) -> str:
    """What two names must not have in common: they would look alike or differ in capitals only."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _printable(text: str) -> bool:
    return not any(unicodedata.category(letter)[0] == "C" or unicodedata.category(letter) in ("Zl", "Zp") for letter in text)
