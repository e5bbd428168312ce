"""`stfed grant | revoke | reseal`: who can open a sealed file from now on.

Whoever signs a new file vouches for what is in it. So revoking and resealing sign only what was signed by somebody trusted: those named by
`--trusted` or `--roster`, or the holder of `--sign`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.cli.options import (
    add_audit,
    add_json,
    add_opening,
    add_recipients,
    add_sign,
    add_trusted,
    opening,
    print_json,
    sealed_facts,
    signing_key,
    trust,
    valid_keys,
)
from stfed.cli.passphrases import Passphrases
from stfed.cli.progress import progress

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.keys import Roster, SigningKey
    from stfed.sealed.manifest import Manifest
    from stfed.sealed.options import OpenOptions


def register(commands: Commands) -> None:
    """Adds the three commands."""
    grant = commands.add_parser(
        "grant",
        help="let others open a signed file",
        description="Gives access to a signed file, in place and in constant time, as one of its owners: a signer, or whom its policy "
        "names. Prints the fingerprints of those who can open it now and could not before.",
        reads="SEALED, the recipients' public keys, the owner's secret keys",
        writes="a grant into SEALED, whose content stays as it is; an entry in the log of --audit",
        never="gives access to a file that is not signed, or takes any away",
        examples=(
            (
                "stfed grant sealed.safetensors --recipient carol.key.pub --sign alice.key --identity alice.key",
                "Carol can open it from now on",
            ),
            (
                "stfed grant sealed.safetensors --recipient carol.key.pub --sign alice.key --identity alice.key --roster team.toml "
                "--audit audit.db",
                "only if somebody of the roster sealed it, and with an entry in a log",
            ),
        ),
    )
    grant.add_argument("file", type=Path, metavar="SEALED", help="a signed sealed file")
    add_recipients(grant, "who is given access", required=True)
    add_sign(grant, "an owner's secret key file", required=True)
    add_audit(grant)
    add_json(grant)
    add_opening(grant)
    add_trusted(grant.add_argument_group("who must have sealed it"))
    grant.set_defaults(handler=_grant)

    revoke = commands.add_parser(
        "revoke",
        help="seal a file anew without some of its recipients",
        description="Seals the content anew, under a new key, to all who can open it now but some. Nothing takes back what they have: who "
        "could open the old file may have kept its key or its content.",
        reads="SEALED, public keys or a roster, the secret keys of --sign and --identity",
        writes="NEW, or SEALED in its place, complete or not at all; an entry in the log of --audit",
        never="puts your signature under a file that nobody trusted signed, or plaintext on disk",
        examples=(
            (
                "stfed revoke sealed.safetensors --recipient bob.key.pub --roster team.toml --sign alice.key --identity alice.key",
                "without Bob; the others are on the roster",
            ),
            (
                "stfed revoke sealed.safetensors --recipient bob.key.pub --known carol.key.pub --sign alice.key --identity alice.key "
                "--out new.safetensors",
                "without Bob; Carol keeps her access, and the old file stays",
            ),
        ),
    )
    revoke.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    add_recipients(revoke, "who loses access", required=True)
    remaining = revoke.add_mutually_exclusive_group(required=True)
    remaining.add_argument(
        "--known", action="append", metavar="KEY.pub", help="a key that keeps its access, if it has any: a file or age1... string; repeat"
    )
    remaining.add_argument("--roster", type=Path, metavar="FILE", help="all its keys; who may have sealed the file, too")
    _add_anew(revoke)
    revoke.set_defaults(handler=_revoke)

    reseal = commands.add_parser(
        "reseal",
        help="seal a file anew to other recipients",
        description="Seals the content anew, under a new key, to these recipients and no others. Policy and statements stay, and the new "
        "file names the old one as the version before.",
        reads="SEALED, public keys or a roster, the secret keys of --sign and --identity",
        writes="NEW, or SEALED in its place, complete or not at all; an entry in the log of --audit",
        never="puts your signature under a file that nobody trusted signed, or plaintext on disk",
        examples=(
            (
                "stfed reseal sealed.safetensors --recipient carol.key.pub --sign alice.key --identity alice.key",
                "for Carol and nobody else",
            ),
            (
                "stfed reseal sealed.safetensors --roster team.toml --sign alice.key --identity alice.key --out new.safetensors",
                "for the recipients of a roster, into a new file",
            ),
        ),
    )
    reseal.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    to = reseal.add_mutually_exclusive_group(required=True)
    add_recipients(to, "who can open the new file")
    to.add_argument("--roster", type=Path, metavar="FILE", help="all recipients of a roster; who may have sealed the file, too")
    _add_anew(reseal)
    reseal.set_defaults(handler=_reseal)


def _add_anew(parser: argparse.ArgumentParser) -> None:
    """What both ways of sealing anew take."""
    add_sign(parser, "sign the new file; needed if the old one is signed")
    parser.add_argument("--out", type=Path, metavar="NEW", help="where to write the new file; takes the old one's place if left out")
    add_audit(parser)
    add_json(parser)
    add_opening(parser)
    parser.add_argument_group("who must have sealed the old file").add_argument(
        "--trusted", action="append", metavar="KEY.pub", help="this key, if not the holder of --sign; repeat"
    )


def _grant(arguments: argparse.Namespace) -> int:
    from stfed.keys.keyfile import read_recipients
    from stfed.sealed import grant, inspect

    passphrases, wanted = Passphrases(arguments.passphrase_file), read_recipients(arguments.recipients)
    given = grant(
        arguments.file,
        recipients=wanted,
        signer=signing_key(arguments.sign, passphrases),
        **opening(arguments, passphrases, trust(arguments)),
    )
    info = inspect(arguments.file)
    if arguments.json:
        before = [recipient.fingerprint for recipient in wanted if recipient not in given]
        granted = {"granted": [recipient.fingerprint for recipient in given], "could_before": before}
        print_json({"file": str(arguments.file), "file_id": info.file_id, "manifest_sha256": info.manifest_sha256, **granted})
    else:
        for recipient in given:
            print(recipient.fingerprint)
    if given:
        note(f"what they were given is the file {info.file_id}, manifest {info.manifest_sha256}")
    for recipient in wanted:
        if recipient not in given:
            note(f"{recipient.fingerprint} could open {arguments.file} before")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from stfed.keys import Roster
    from stfed.keys.keyfile import read_recipients
    from stfed.sealed import revoke

    revoked = read_recipients(arguments.recipients)
    roster = Roster.read(arguments.roster) if arguments.roster else None
    known = arguments.known if roster is None else list(valid_keys(roster).values())
    signer, options = _anew(arguments, roster)
    with progress(arguments.file, "sealing") as advance:
        manifest = revoke(arguments.file, arguments.out, revoked=revoked, known=known, signer=signer, progress=advance, **options)
    if arguments.json:
        print_json({**_facts(arguments, manifest), "revoked": [key.fingerprint for key in revoked]})
    who = ", ".join(key.fingerprint for key in revoked)
    note(f"{who} cannot open {arguments.out or arguments.file}")
    note(f"{who} may have kept the key or the content of the old file: every copy of it stays readable to them")
    return 0


def _reseal(arguments: argparse.Namespace) -> int:
    from stfed.keys import Roster
    from stfed.sealed import reseal

    roster = Roster.read(arguments.roster) if arguments.roster else None
    recipients = arguments.recipients if roster is None else roster
    signer, options = _anew(arguments, roster)
    with progress(arguments.file, "sealing") as advance:
        manifest = reseal(arguments.file, arguments.out, recipients=recipients, signer=signer, progress=advance, **options)
    if arguments.json:
        print_json(_facts(arguments, manifest))
    note("who could open the old file can open every copy of it that is left")
    return 0


def _facts(arguments: argparse.Namespace, manifest: Manifest) -> dict[str, Any]:
    """The new file, for scripts."""
    return {"file": str(arguments.file), "out": str(arguments.out or arguments.file), **sealed_facts(manifest)}


def _anew(arguments: argparse.Namespace, roster: Roster | None) -> tuple[SigningKey | None, OpenOptions]:
    """Who signs the new file, and how the old one is opened: if somebody signs, then what somebody signed whom they trust.

    Where nobody is named, the library takes the signer's own word.
    """
    passphrases = Passphrases(arguments.passphrase_file)
    signer = signing_key(arguments.sign, passphrases) if arguments.sign else None
    return signer, opening(arguments, passphrases, arguments.trusted or (roster if signer else None))
