"""What the tests of keys share: checked-in vectors, repeatable randomness, keys by name, and rosters."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from stfed.keys.encryption import Identity, Recipient, generate_keypair
from stfed.keys.member import Member
from stfed.keys.passphrase import Cost
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey

VECTORS = Path(__file__).parent.parent / "vectors"
CHEAP = Cost(8, 1, 1)
"""The least that Argon2id can do; far below the floor of what is written for anybody."""


def vectors(name: str) -> Any:
    return json.loads((VECTORS / "keys" / f"{name}.json").read_bytes())


class Script:
    """Entropy from a name: SHAKE-256 of name and call number."""

    def __init__(self, name: str = "test") -> None:
        self.name, self.calls = name, 0

    def __call__(self, size_bytes: int, /) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.name} {self.calls}".encode()).digest(size_bytes)


@cache
def keypair(name: str = "reader", kind: str = "x25519") -> tuple[Identity, Recipient]:
    return generate_keypair(kind, entropy=Script(name))


@cache
def signer(name: str = "signer", kind: str = "ed25519") -> SigningKey:
    return SigningKey.generate(kind, entropy=Script(name))


def day(number: int) -> datetime:
    """A day of January 2026."""
    return datetime(2026, 1, number, tzinfo=UTC)


def member(name: str, *roles: str, **more: Any) -> Member:
    """Somebody with a key of each kind that their name gives."""
    return Member(name, frozenset(roles), keypair(name)[1], signer(name).public, **more)


def roster(*members: Member) -> Roster:
    return Roster("Heart study", members or (member("alice", "owner", "recipient"), member("bob", "recipient"), member("eve", "auditor")))
