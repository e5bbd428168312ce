"""`stfed inspect | verify`: what a sealed file shows, and what it proves, to somebody who has no key to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli.options import add_generation, add_json, add_trusted, print_json, trust, valid_keys
from stfed.cli.progress import progress

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.keys import Member, Recipient
    from stfed.keys.member import Retired
    from stfed.sealed import Verified


def register(commands: Commands) -> None:
    """Adds both commands."""
    inspect = commands.add_parser(
        "inspect",
        help="show what a sealed file tells without a key",
        description="Shows sizes, recipients, signers and what the sealer states. Whose keys the signers' are, only `stfed verify` and "
        "`stfed open` decide, from keys that you trust. Of a KEY or KEY.pub for encrypted tensors: parameters and fingerprint.",
        reads="the head of SEALED, public keys or a roster",
        never="needs a secret key, decrypts anything, or believes what a file states",
        examples=(
            ("stfed inspect sealed.safetensors", "what everybody can see"),
            ("stfed inspect sealed.safetensors --key bob.key.pub", "whether Bob can open it"),
            ("stfed inspect sealed.safetensors --roster team.toml --json", "who of a roster can, for a script"),
        ),
    )
    inspect.add_argument("file", type=Path, metavar="SEALED", help="a sealed file, or a key file of encrypted tensors")
    add_json(inspect)
    known = inspect.add_mutually_exclusive_group()
    known.add_argument("--key", action="append", default=[], dest="keys", metavar="KEY.pub", help="does this key open it? repeat")
    known.add_argument("--roster", type=Path, metavar="FILE", help="who in this roster can open it?")
    inspect.set_defaults(handler=_inspect, wrong=inspect.error)

    verify = commands.add_parser(
        "verify",
        help="prove who sealed a file, without a key to it",
        description="Holds every byte of a signed file against its signature, and the signature against the keys that you trust. Exits "
        "with 0 only if all of it holds. Decrypts nothing, and does not look at the policy.",
        reads="all of SEALED, public keys or a roster",
        never="needs a secret key, decrypts anything, or writes a file",
        examples=(
            ("stfed verify sealed.safetensors --trusted alice.key.pub", "was it Alice?"),
            ("stfed verify sealed.safetensors --roster team.toml --json", "was it an owner or coordinator of the roster? for a script"),
        ),
    )
    verify.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    add_trusted(verify, required=True)
    add_generation(verify)
    add_json(verify)
    verify.set_defaults(handler=_verify)


def _inspect(arguments: argparse.Namespace) -> int:
    from stfed.encrypted.keyinspect import KeyFileInfo, inspect_key_file, is_key_file
    from stfed.sealed import SealedInfo, inspect

    info: SealedInfo | KeyFileInfo
    if is_key_file(arguments.file):
        if arguments.keys or arguments.roster:
            arguments.wrong("--key and --roster are for sealed files, this is a key file")
        info = inspect_key_file(arguments.file)
    else:
        info = inspect(arguments.file, known=_known(arguments))
    if arguments.json:
        print_json(info.to_dict())
    else:
        print(info.table())
    return 0


def _known(arguments: argparse.Namespace) -> dict[str, Recipient]:
    """Keys by name; those that a roster no longer counts too, because they open the file all the same."""
    from stfed.keys import Roster, read_recipient

    if arguments.roster is None:
        return {text: read_recipient(text) for text in arguments.keys}
    roster = Roster.read(arguments.roster)
    current, revoked = valid_keys(roster), {entry.fingerprint for entry in roster.revoked}
    known: dict[str, Recipient] = dict(current)
    entries: list[Member | Retired] = [*roster.members, *roster.retired]
    for entry in entries:
        key = entry.encryption
        if key and key not in current.values():
            known[f"{entry.name} ({'revoked' if key.fingerprint in revoked else 'not valid now'}, {key.fingerprint})"] = key
    return known


def _verify(arguments: argparse.Namespace) -> int:
    from stfed.keys import Roster
    from stfed.sealed import verify_file

    trusted = trust(arguments)
    assert trusted is not None  # the parser requires one
    with progress(arguments.file, "verifying", timed=True) as advance:
        verified = verify_file(arguments.file, trusted=trusted, generation=arguments.generation, progress=advance)
    member = trusted.by_signing(verified.signer) if isinstance(trusted, Roster) else None
    facts = _facts(verified, None if member is None else member.name)
    if arguments.json:
        print_json({"file": str(arguments.file), **facts})
    else:
        print(
            "\n".join(
                f"{name.removesuffix('_sha256').replace('_', ' '):<10}  {value}" for name, value in facts.items() if value is not None
            )
        )
    return 0


def _facts(verified: Verified, member: str | None) -> dict[str, Any]:
    return {
        "signer": verified.signer.fingerprint,
        "member": member,
        "time": f"{verified.manifest.context.time:%Y-%m-%dT%H:%M:%SZ}",
        "file_id": verified.manifest.context.file_id.hex(),
        "manifest_sha256": verified.manifest.sha256.hex(),
        "generation": verified.generation,
        "segments": verified.segments,
    }
