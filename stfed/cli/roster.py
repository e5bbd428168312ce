"""`stfed roster`: who is who. One TOML file says which key is whose, in which roles and until when; sealing, opening and parties take it.

Whoever can change the roster decides whom its readers trust, so every command that changes it prints the new fingerprint, to be compared
over another channel.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import rosterchange, rosterview
from stfed.cli.options import add_json, moment

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.cli.parser import Parser

ROLES = ("owner", "recipient", "auditor", "party", "coordinator")


def register(commands: Commands) -> None:
    """Adds `roster` with its commands."""
    roster = commands.add_parser(
        "roster",
        help="keep the list of people, their keys and roles",
        description="Keeps a roster: a TOML file that says which key is whose, in which roles and until when. Whoever can change it "
        "decides whom its readers trust, so each change prints the new fingerprint, to be compared over another channel.",
        examples=(
            ("stfed roster init team.toml --name 'Heart study'", "start one"),
            ("stfed roster add team.toml bob --key bob.key.pub --role recipient", "who can be given files"),
            ("stfed roster show team.toml", "who is on it"),
        ),
    )
    verbs: Commands = roster.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _init_verb(verbs)
    _add_verb(verbs)
    remove = _verb(
        verbs,
        rosterchange.remove,
        "remove",
        help="remove a member; nothing they signed verifies any more",
        description="Removes a member and all their keys. What they signed does not verify any more, and no new file is sealed to them.",
        never="takes back what they can open already: see stfed revoke",
        examples=[("stfed roster remove team.toml bob", "Bob is not on it any more")],
    )
    _add_member(remove)
    rotate = _verb(
        verbs,
        rosterchange.rotate,
        "rotate",
        help="give a member new keys; the old ones still verify what is signed already",
        description="Gives a member new keys. The old ones stay on the roster as retired: they verify what was signed until now.",
        reads="the new public keys",
        never="makes keys, or refuses old ones for what is signed already: see stfed roster revoke",
        examples=[("stfed roster rotate team.toml bob --key bob-2.key.pub", "Bob has new keys")],
    )
    _add_member(rotate)
    _add_keys(rotate)
    revoke = _verb(
        verbs,
        rosterchange.revoke,
        "revoke",
        help="refuse keys from now on, for everything and for all times",
        description="Refuses the keys of a member, or one key, from now on: for everything, and whenever it signed, because whoever stole "
        "a key can sign with any date.",
        never="changes a file that is sealed to the key: see stfed revoke",
        examples=(
            ("stfed roster revoke team.toml bob --reason 'laptop stolen'", "all keys of Bob"),
            ("stfed roster revoke team.toml gaku-n6da-mfpi-6aud", "the key with this fingerprint"),
        ),
    )
    revoke.add_argument("who", metavar="WHO", help="a member, for all their keys, or the fingerprint of one key")
    revoke.add_argument("--reason", default="", metavar="TEXT", help="why; errors show it")
    _verb(
        verbs,
        rosterview.show,
        "show",
        changes=False,
        help="print the members, their keys, and the roster's fingerprint",
        description="Prints the members, their roles and keys, what is retired and revoked, and the fingerprint of it all.",
        examples=(
            ("stfed roster show team.toml", "compare the first line with whoever keeps the roster"),
            ("stfed roster show team.toml --json", "for a script"),
        ),
    )
    checked = _verb(
        verbs,
        rosterview.check,
        "check",
        changes=False,
        help="say whose key this is, if it may be used in a role; exits with 5 if not",
        description="Prints whose key it is, if it may be used in a role. Exits with 5, and names the rule, if not.",
        reads="the public keys in KEY.pub",
        examples=(
            ("stfed roster check team.toml alice.key.pub --role owner", "now"),
            ("stfed roster check team.toml alice.key.pub --role owner --at 2027-01-31 --json", "on a day, for a script"),
        ),
    )
    checked.add_argument("key", type=Path, metavar="KEY.pub", help="a public key file")
    checked.add_argument("--role", required=True, choices=ROLES, help="the role")
    checked.add_argument("--at", type=moment, metavar="TIME", help="the moment (default: now)")


def _init_verb(verbs: Commands) -> None:
    init = _verb(
        verbs,
        rosterchange.init,
        "init",
        help="start an empty roster",
        description="Writes a roster without members.",
        never="overwrites a file",
        examples=[("stfed roster init team.toml --name 'Heart study'", "an empty one")],
    )
    init.add_argument("--name", required=True, metavar="TEXT", help="what the roster is called")


def _add_verb(verbs: Commands) -> None:
    add = _verb(
        verbs,
        rosterchange.add,
        "add",
        help="add a member",
        description="Adds a member with their public keys and roles.",
        reads="the member's public keys",
        never="asks anybody whose keys they are: compare the fingerprint with the member first",
        examples=(
            ("stfed roster add team.toml bob --key bob.key.pub --role recipient", "who can be given files"),
            ("stfed roster add team.toml carol --key carol.key.pub --role owner --role recipient --not-after 2028-01-01", "until a day"),
            ("stfed roster add roster.toml hospital --key hospital.key.pub --role party", "who takes part in secure sums"),
        ),
    )
    _add_member(add)
    _add_keys(add)
    add.add_argument("--role", action="append", default=[], choices=ROLES, dest="roles", help="what the member may do; repeat")
    add.add_argument("--not-before", type=moment, metavar="TIME", help="refuse the member's keys before this time")
    add.add_argument("--not-after", type=moment, metavar="TIME", help="refuse the member's keys after this time")


def _verb(
    verbs: Commands, handler: Callable[[argparse.Namespace], int], name: str, *, changes: bool = True, reads: str = "", **page: Any
) -> Parser:
    """A command that has the roster as its first argument; one that changes it does so while no other command does."""
    reads = f"FILE; {reads}" if reads else "FILE"
    if changes:
        page["writes"] = "FILE, complete or not at all; commands that change it at once take turns"
    else:
        page["never"] = "changes the roster"
    parser = verbs.add_parser(name, reads=reads, **page)
    parser.add_argument("file", type=Path, metavar="FILE", help="the roster")
    add_json(parser)
    parser.set_defaults(handler=handler)
    return parser


def _add_member(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the member")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", action="append", required=True, type=Path, dest="keys", metavar="KEY.pub", help="their public keys; repeat for two files"
    )
