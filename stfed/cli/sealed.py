"""`stfed seal | open`: from a plain safetensors file to a sealed one, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note
from stfed.cli.options import (
    add_audit,
    add_opening,
    add_recipients,
    add_sign,
    add_trusted,
    moment,
    opening,
    signing_key,
    statement,
    statements,
    trust,
)
from stfed.cli.passphrases import Passphrases, add_passphrase_file
from stfed.cli.progress import progress

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.cli.options import Trusted
    from stfed.sealed import Policy, SealedReader
    from stfed.sealed.grants import Grant
    from stfed.sealed.unwrapping import KeyService


def register(commands: Commands) -> None:
    """Adds both commands."""
    seal = commands.add_parser(
        "seal",
        help="encrypt a safetensors file to its recipients",
        description="Encrypts a plain safetensors file so that only the recipients can open it. A signed one proves who sealed it, can "
        "have a policy, and can be granted to others later.",
        epilog="example: stfed seal model.safetensors --recipient bob.key.pub --sign alice.key --out sealed.safetensors",
        allow_abbrev=False,
    )
    seal.add_argument("file", type=Path, metavar="FILE", help="a plain safetensors file; it stays as it is")
    to = seal.add_mutually_exclusive_group(required=True)
    add_recipients(to, "who can open it")
    to.add_argument("--roster", type=Path, metavar="FILE", help="all recipients of a roster")
    to.add_argument("--passphrase", action="store_true", help="whoever knows the passphrase, and nobody else")
    add_passphrase_file(seal)
    seal.add_argument("--out", type=Path, required=True, metavar="SEALED", help="where to write the sealed file")
    add_sign(seal, "sign it with this secret key file")
    _add_policy(seal)
    for name, where in (("--state", "for its recipients"), ("--state-public", "for everybody")):
        seal.add_argument(name, action="append", default=[], type=statement, metavar="NAME=VALUE", help=f"state something {where}; repeat")
    seal.add_argument("--digest", choices=("blake3", "sha256"), default="blake3", help="hash of a signed file's segments (default blake3)")
    add_audit(seal)
    seal.set_defaults(handler=_seal)

    open_ = commands.add_parser(
        "open",
        help="decrypt a sealed file",
        description="Checks and decrypts a sealed file; what comes out is, byte for byte, the safetensors file that went in.",
        epilog="example: stfed open sealed.safetensors --identity bob.key --trusted alice.key.pub --out model.safetensors",
        allow_abbrev=False,
    )
    open_.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    open_.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the plain file")
    add_opening(open_, keyserver=True)
    add_trusted(open_)
    service = open_.add_argument_group("for --keyserver")
    service.add_argument("--service-key", metavar="KEY.pub", help="the service's public signing key: a file or stfedsig1... string")
    add_sign(service, "your secret signing key, to prove who asks")
    service.add_argument("--ca", type=Path, metavar="FILE", help="certificates to trust, in PEM (default: the system's)")
    open_.set_defaults(handler=_open, wrong=open_.error)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    policy = parser.add_argument_group("policy of a signed file")
    policy.add_argument("--owner", action="append", default=[], dest="owners", metavar="KEY.pub", help="may grant access too; repeat")
    policy.add_argument("--reader", action="append", default=[], dest="readers", metavar="KEY.pub", help="may have it from a key service")
    policy.add_argument("--purpose", action="append", default=[], dest="purposes", metavar="TEXT", help="what it may be opened for; repeat")
    policy.add_argument("--not-before", type=moment, metavar="TIME", help="may be opened from then on: 2027-01-31T12:00:00Z, or a date")
    policy.add_argument("--not-after", type=moment, metavar="TIME", help="may be opened until then")


def _seal(arguments: argparse.Namespace) -> int:
    from stfed.keys import Roster
    from stfed.sealed import seal_file

    passphrases = Passphrases(arguments.passphrase_file)
    with progress(arguments.file, "sealing") as advance:
        seal_file(
            arguments.file,
            arguments.out,
            recipients=Roster.read(arguments.roster) if arguments.roster else arguments.recipients,
            passphrase=passphrases.new(arguments.out) if arguments.passphrase else None,
            signer=signing_key(arguments.sign, passphrases) if arguments.sign else None,
            policy=_policy(arguments),
            provenance=statements(arguments.state),
            public=statements(arguments.state_public),
            digest=arguments.digest,
            audit=arguments.audit,
            progress=advance,
        )
    return 0


def _policy(arguments: argparse.Namespace) -> Policy:
    from stfed.sealed import Policy

    return Policy(
        owners=arguments.owners,
        readers=arguments.readers,
        purposes=arguments.purposes,
        not_before=arguments.not_before,
        not_after=arguments.not_after,
    )


def _open(arguments: argparse.Namespace) -> int:
    from stfed.sealed import open_file

    passphrases, trusted = Passphrases(arguments.passphrase_file), trust(arguments)
    service = _service(arguments, passphrases)
    options = opening(arguments, passphrases, trusted)
    options["service"] = service
    with progress(arguments.file, "opening") as advance:
        reader = open_file(arguments.file, arguments.out, progress=advance, **options)
    note(f"{arguments.file} {_origin(reader, trusted)}")
    if reader.access.grant is not None:
        note(_granted(reader.access.who, reader.access.grant))
    return 0


def _service(arguments: argparse.Namespace, passphrases: Passphrases) -> KeyService | None:
    """The key service that `--keyserver` names."""
    if not arguments.keyserver:
        if arguments.service_key or arguments.sign or arguments.ca:
            arguments.wrong("--service-key, --sign and --ca are for --keyserver")
        return None
    if not (arguments.service_key and arguments.sign):
        arguments.wrong("--keyserver needs --service-key, whose answer to believe, and --sign, to prove who asks")
    from stfed.keyserver import KeyServer

    signer = signing_key(arguments.sign, passphrases)
    return KeyServer(arguments.keyserver, signer=signer, service_key=arguments.service_key, ca=arguments.ca)


def _origin(reader: SealedReader, trusted: Trusted) -> str:
    """What is proved about who sealed the file."""
    from stfed.keys import Roster

    signers = ", ".join(key.fingerprint for key in reader.manifest.context.signers)
    if reader.trusted is not None:
        member = trusted.by_signing(reader.trusted) if isinstance(trusted, Roster) else None
        who = reader.trusted.fingerprint + (f", {member.name} in the roster," if member else "")
        return f"was sealed by {who} at {reader.manifest.context.time:%Y-%m-%d %H:%M:%S UTC}"
    if signers:
        return f"is signed by {signers}, and nothing here says whose key that is: compare fingerprints, or use --trusted or --roster"
    return "is not signed: it is whole and unchanged, but nothing proves who sealed it"


def _granted(who: str, grant: Grant) -> str:
    """Through whom the reader came to the key."""
    from stfed.keys.fingerprint import grouped

    return f"access for {who} was granted by {grouped(grant.granter)} at {grant.time:%Y-%m-%d %H:%M:%S UTC}"
