"""What `stfed roster init`, `add`, `remove`, `rotate` and `revoke` do: one change each, while nobody else makes one."""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.options import print_json
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.keys import Roster
    from stfed.keys.keytext import PublicKeys


def init(arguments: argparse.Namespace) -> int:
    """Writes an empty roster."""
    from stfed.files import check_target
    from stfed.keys import Roster

    check_target(arguments.file)
    with _locked(arguments.file):
        if arguments.file.exists():
            raise LocalError(f"{arguments.file} exists and is not overwritten", hint="choose another name")
        return _write(Roster(arguments.name), arguments)


def add(arguments: argparse.Namespace) -> int:
    """Adds a member."""
    from stfed.keys import Member

    keys = _keys(arguments.keys)
    member = Member(arguments.name, frozenset(arguments.roles), keys.recipient, keys.verifier, arguments.not_before, arguments.not_after)
    return _change(arguments, lambda roster: roster.add(member))


def remove(arguments: argparse.Namespace) -> int:
    """Removes a member."""
    return _change(arguments, lambda roster: roster.remove(arguments.name))


def rotate(arguments: argparse.Namespace) -> int:
    """Gives a member new keys."""
    keys, now = _keys(arguments.keys), datetime.now(UTC)
    return _change(arguments, lambda roster: roster.rotate(arguments.name, encryption=keys.recipient, signing=keys.verifier, at=now))


def revoke(arguments: argparse.Namespace) -> int:
    """Refuses a member's keys, or one."""
    now = datetime.now(UTC).replace(microsecond=0)
    return _change(arguments, lambda roster: roster.revoke(arguments.who, now, arguments.reason))


def _keys(paths: list[Path]) -> PublicKeys:
    """The keys of one or two files, at most one of each kind."""
    from stfed.keys.keyfile import read_public_keys
    from stfed.keys.keytext import PublicKeys

    recipient = verifier = None
    for path in paths:
        keys = read_public_keys(path)
        if (recipient and keys.recipient) or (verifier and keys.verifier):
            raise LocalError(f"{path} gives a second key for the same purpose", hint="a member has one key of each kind")
        recipient, verifier = recipient or keys.recipient, verifier or keys.verifier
    return PublicKeys(recipient, verifier)


def _change(arguments: argparse.Namespace, change: Callable[[Roster], Roster]) -> int:
    """Reads, changes and writes the roster while nobody else does."""
    from stfed.files import check_target
    from stfed.keys import Roster

    check_target(arguments.file)
    with _locked(arguments.file):
        return _write(change(Roster.read(arguments.file)), arguments)


def _write(roster: Roster, arguments: argparse.Namespace) -> int:
    roster.write(arguments.file)
    if arguments.json:
        print_json({"file": str(arguments.file), "name": roster.name, "fingerprint": roster.fingerprint})
    else:
        print(roster.fingerprint)
    return 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two changes at once must not lose one of them, a revocation say. The lock is the folder's: the file itself is replaced."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
