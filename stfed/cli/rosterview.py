"""What `stfed roster show` and `check` tell about a roster."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stfed.cli.options import print_json

if TYPE_CHECKING:
    from stfed.keys import Member, Recipient, Roster, VerifyingKey
    from stfed.keys.member import Retired


def show(arguments: argparse.Namespace) -> int:
    """Prints a roster."""
    from stfed.keys import Roster

    facts = _facts(Roster.read(arguments.file))
    if arguments.json:
        print_json({"file": str(arguments.file), **facts})
    else:
        print("\n".join(_lines(facts)))
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Prints whose keys these are; RosterError, which names the rule, if one of them may not be used in the role."""
    from stfed.keys import Roster
    from stfed.keys.keyfile import read_public_keys

    roster, public = Roster.read(arguments.file), read_public_keys(arguments.key)
    keys = [key for key in (public.recipient, public.verifier) if key]
    at = arguments.at or datetime.now(UTC)
    members = list(dict.fromkeys(roster.check(key, arguments.role, at).name for key in keys))
    if arguments.json:
        print_json({"file": str(arguments.file), "key": str(arguments.key), "role": arguments.role, "at": _time(at), "members": members})
    else:
        print("\n".join(members))
    return 0


def _facts(roster: Roster) -> dict[str, Any]:
    return {
        "name": roster.name,
        "fingerprint": roster.fingerprint,
        "members": [
            {
                "name": member.name,
                "roles": sorted(member.roles),
                "not_before": _time(member.not_before),
                "not_after": _time(member.not_after),
                "keys": list(_keys(member, roster)),
            }
            for member in roster.members
        ],
        "revoked": [
            {"name": entry.name, "fingerprint": entry.fingerprint, "at": _time(entry.at), "reason": entry.reason}
            for entry in roster.revoked
        ],
    }


def _keys(member: Member, roster: Roster) -> Iterator[dict[str, Any]]:
    """Each key of a member, the current ones first, and whether it still counts."""
    revoked = {entry.fingerprint for entry in roster.revoked}
    entries: list[Member | Retired] = [member, *(entry for entry in roster.retired if entry.name == member.name)]
    for entry in entries:
        until = None if entry is member else _time(entry.until)  # type: ignore[union-attr]
        key: Recipient | VerifyingKey | None
        for use, key in (("encryption", entry.encryption), ("signing", entry.signing)):
            if key:
                state = "revoked" if key.fingerprint in revoked else "retired" if until else "current"
                yield {"use": use, "fingerprint": key.fingerprint, "key": str(key), "state": state, "retired_at": until}


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{facts['name']}  {facts['fingerprint']}"
    for member in facts["members"]:
        window = "".join(f", {word} {member[name]}" for name, word in (("not_before", "from"), ("not_after", "until")) if member[name])
        yield f"{member['name']}: {', '.join(member['roles']) or 'no role'}{window}"
        for key in member["keys"]:
            yield f"  {key['use']:<10}  {key['fingerprint']}  {key['state']}" + (
                f" {key['retired_at']}" if key["state"] == "retired" else ""
            )
    for entry in facts["revoked"]:
        yield f"revoked {entry['at']}: {entry['fingerprint']} of {entry['name']}" + (f", {entry['reason']}" if entry["reason"] else "")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
