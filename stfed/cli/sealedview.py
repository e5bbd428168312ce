"""What `stfed open` tells about a file that it opened: what is proved about who sealed it, and what is not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from stfed.cli.options import sealed_facts

if TYPE_CHECKING:
    from stfed.cli.options import Trusted
    from stfed.keys import Member
    from stfed.sealed import SealedReader
    from stfed.sealed.grants import Grant


def facts(arguments: argparse.Namespace, reader: SealedReader, trusted: Trusted) -> dict[str, Any]:
    """What was opened, and what is proved about it: `signer` is whom the caller trusts, null if that was nobody."""
    from stfed.keys.fingerprint import grouped

    grant = reader.access.grant
    member = _member(reader, trusted)
    return {
        "file": str(arguments.file),
        "out": str(arguments.out),
        **sealed_facts(reader.manifest),
        "signer": None if reader.trusted is None else reader.trusted.fingerprint,
        "member": None if member is None else member.name,
        "granter": None if grant is None else grouped(grant.granter),
    }


def _member(reader: SealedReader, trusted: Trusted) -> Member | None:
    """Who in a roster sealed the file."""
    from stfed.keys import Roster

    return trusted.by_signing(reader.trusted) if isinstance(trusted, Roster) and reader.trusted is not None else None


def origin(reader: SealedReader, trusted: Trusted) -> str:
    """What is proved about who sealed the file."""
    signers = ", ".join(key.fingerprint for key in reader.manifest.context.signers)
    if reader.trusted is not None:
        member = _member(reader, trusted)
        who = reader.trusted.fingerprint + (f", {member.name} in the roster," if member else "")
        return f"was sealed by {who} at {reader.manifest.context.time:%Y-%m-%d %H:%M:%S UTC}"
    if signers:
        return f"is signed by {signers}, and nothing here says whose key that is: compare fingerprints, or use --trusted or --roster"
    return "is not signed: it is whole and unchanged, but nothing proves who sealed it"


def granted(who: str, grant: Grant) -> str:
    """Through whom the reader came to the key."""
    from stfed.keys.fingerprint import grouped

    return f"access for {who} was granted by {grouped(grant.granter)} at {grant.time:%Y-%m-%d %H:%M:%S UTC}"
