"""`stfed roster`: who is who. One TOML file says which key is whose, in which roles and until when; sealing, opening and parties take it.

Whoever can change the roster decides whom its readers trust, so every command that changes it prints the new fingerprint, to be compared
over another channel.
"""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.options import moment
from stfed.cli.rosterview import check, show
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.keys import Roster
    from stfed.keys.keytext import PublicKeys

ROLES = ("owner", "recipient", "auditor", "party", "coordinator")


def register(commands: Commands) -> None:
    """Adds `roster` with its commands."""
    roster = commands.add_parser(
        "roster",
        help="keep the list of people, their keys and roles",
        description="Keeps a roster: a TOML file that says which key is whose, in which roles and until when.",
        epilog="example: stfed roster add team.toml bob --key bob.key.pub --role recipient",
        allow_abbrev=False,
    )
    verbs = roster.add_subparsers(title="commands", metavar="COMMAND", required=True)

    init = _verb(verbs, "init", "start an empty roster", _init)
    init.add_argument("--name", required=True, metavar="TEXT", help="what the roster is called")
    add = _verb(verbs, "add", "add a member", _add)
    _add_member(add)
    _add_keys(add)
    add.add_argument("--role", action="append", default=[], choices=ROLES, dest="roles", help="what the member may do; repeat")
    add.add_argument("--not-before", type=moment, metavar="TIME", help="refuse the member's keys before this time")
    add.add_argument("--not-after", type=moment, metavar="TIME", help="refuse the member's keys after this time")
    _add_member(_verb(verbs, "remove", "remove a member; nothing they signed verifies any more", _remove))
    rotate = _verb(verbs, "rotate", "give a member new keys; the old ones still verify what is signed already", _rotate)
    _add_member(rotate)
    _add_keys(rotate)
    revoke = _verb(verbs, "revoke", "refuse keys from now on, for everything and for all times", _revoke)
    revoke.add_argument("who", metavar="WHO", help="a member, for all their keys, or the fingerprint of one key")
    revoke.add_argument("--reason", default="", metavar="TEXT", help="why; errors show it")
    shown = _verb(verbs, "show", "print the members, their keys, and the roster's fingerprint", show)
    shown.add_argument("--json", action="store_true", help="print one JSON object")
    checked = _verb(verbs, "check", "say whose key this is, if it may be used in a role; exits with 5 if not", check)
    checked.add_argument("key", type=Path, metavar="KEY.pub", help="a public key file")
    checked.add_argument("--role", required=True, choices=ROLES, help="the role")
    checked.add_argument("--at", type=moment, metavar="TIME", help="the moment (default: now)")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, handler: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.add_argument("file", type=Path, metavar="FILE", help="the roster")
    parser.set_defaults(handler=handler)
    return parser


def _add_member(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the member")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", action="append", required=True, type=Path, dest="keys", metavar="KEY.pub", help="their public keys; repeat for two files"
    )


def _init(arguments: argparse.Namespace) -> int:
    from stfed.files import check_target
    from stfed.keys import Roster

    check_target(arguments.file)
    with _locked(arguments.file):
        if arguments.file.exists():
            raise LocalError(f"{arguments.file} exists and is not overwritten", hint="choose another name")
        return _write(Roster(arguments.name), arguments)


def _add(arguments: argparse.Namespace) -> int:
    from stfed.keys import Member

    keys = _keys(arguments.keys)
    member = Member(arguments.name, frozenset(arguments.roles), keys.recipient, keys.verifier, arguments.not_before, arguments.not_after)
    return _change(arguments, lambda roster: roster.add(member))


def _remove(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda roster: roster.remove(arguments.name))


def _rotate(arguments: argparse.Namespace) -> int:
    keys, now = _keys(arguments.keys), datetime.now(UTC)
    return _change(arguments, lambda roster: roster.rotate(arguments.name, encryption=keys.recipient, signing=keys.verifier, at=now))


def _revoke(arguments: argparse.Namespace) -> int:
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
