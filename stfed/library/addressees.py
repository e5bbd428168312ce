"""Whom something is handed to: keys with the names that people know them by.

A recipient is given as a public key, as the path of a KEY.pub, or as the name of a member of the roster, if there is one. With a roster
only its recipients are accepted, whichever way they are given: a key that it does not know, or has revoked, gets nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from stfed.errors import LocalError
from stfed.keys.encryption import Recipient
from stfed.keys.keyfile import PathLike, RecipientLike, read_recipient
from stfed.keys.member import Role
from stfed.keys.roster import Roster

Recipients = RecipientLike | Iterable[RecipientLike] | Roster


@dataclass(frozen=True)
class Addressee:
    """Somebody to hand something to.

    Attributes:
        name: on the roster, or of the key file, or else the fingerprint.
        key: what to seal to.
    """

    name: str
    key: Recipient


def addressees(recipients: Recipients, roster: Roster | None, now: datetime) -> tuple[Addressee, ...]:
    """Who is meant; everybody once, and no two by one name.

    Args:
        recipients: one or several; a roster stands for all its recipients.
        roster: whose names and rules count.
        now: when, for the roster's rules.

    Raises:
        LocalError: nobody is meant, or a key file is not there or has no key to encrypt to.
        MalformedError: something is no public key.
        RosterError: a key is not that of a recipient on the roster now.
    """
    if isinstance(recipients, Roster):
        # The library's own roster has the last word: the one that is given may be older, or another team's.
        found = [_known(key, roster or recipients, now) for key in recipients.recipients(now=now)]
    else:
        listed = [recipients] if isinstance(recipients, Recipient | str | os.PathLike) else list(recipients)
        found = [_addressee(one, roster, now) for one in listed]
    unique: dict[Recipient, Addressee] = {}
    for one in found:
        unique.setdefault(one.key, one)
    if not unique:
        raise LocalError("there is nobody to hand it to", hint="recipients=[...]: public keys, paths of KEY.pub, or names on the roster")
    times = Counter(one.name for one in unique.values())
    return tuple(one if times[one.name] == 1 else Addressee(f"{one.name}-{one.key.fingerprint}", one.key) for one in unique.values())


def _addressee(source: RecipientLike, roster: Roster | None, now: datetime) -> Addressee:
    if roster is None:
        key = read_recipient(source)
        return Addressee(_file_name(source, key), key)
    member = roster.member(source) if isinstance(source, str) else None
    if member is not None and member.encryption is None:
        raise LocalError(f"{member.name} has no key to encrypt to on the roster", hint="have them added with one: stfed roster rotate")
    return _known(read_recipient(source) if member is None or member.encryption is None else member.encryption, roster, now)


def _known(key: Recipient, roster: Roster, now: datetime) -> Addressee:
    return Addressee(roster.check(key, Role.RECIPIENT, now).name, key)


def _file_name(source: RecipientLike, key: Recipient) -> str:
    """`north` for `keys/north.key.pub`."""
    if isinstance(source, Recipient) or (isinstance(source, str) and source.lower() == str(key)):
        return key.fingerprint
    return _stem(source) or key.fingerprint


def _stem(path: PathLike) -> str:
    return PurePath(path).name.removesuffix(".pub").removesuffix(".key")
