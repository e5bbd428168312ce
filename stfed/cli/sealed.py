"""`stfed seal | open`: from a plain safetensors file to a sealed one, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note
from stfed.cli.options import (
    add_audit,
    add_json,
    add_opening,
    add_recipients,
    add_sign,
    add_trusted,
    moment,
    opening,
    print_json,
    sealed_facts,
    signing_key,
    statement,
    statements,
    trust,
)
from stfed.cli.passphrases import Passphrases, add_passphrase_file
from stfed.cli.progress import progress
from stfed.cli.sealedview import facts, granted, origin

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.sealed import Policy
    from stfed.sealed.unwrapping import KeyService


def register(commands: Commands) -> None:
    """Adds both commands."""
    seal = commands.add_parser(
        "seal",
        help="encrypt a safetensors file to its recipients",
        description="Encrypts a plain safetensors file so that only the recipients can open it. A signed one proves who sealed it, can "
        "have a policy, and can be granted to others later.",
        reads="FILE, public keys or a roster, the secret key of --sign",
        writes="SEALED, complete or not at all; an entry in the log of --audit, before SEALED appears",
        never="changes FILE, or takes a passphrase as an argument",
        examples=(
            ("stfed seal model.safetensors --recipient bob.key.pub --sign alice.key --out sealed.safetensors", "for Bob, signed by Alice"),
            ("stfed seal model.safetensors --roster team.toml --sign alice.key --out sealed.safetensors", "for all recipients of a roster"),
            ("stfed seal model.safetensors --passphrase --out sealed.safetensors", "for whoever knows a passphrase, which is asked for"),
            (
                "stfed seal model.safetensors --recipient bob.key.pub --sign alice.key --purpose research --not-after 2027-12-31 "
                "--out sealed.safetensors",
                "with a policy: for research only, until the end of the year",
            ),
        ),
    )
    seal.add_argument("file", type=Path, metavar="FILE", help="a plain safetensors file; it stays as it is")
    seal.add_argument("--out", type=Path, required=True, metavar="SEALED", help="where to write the sealed file")
    add_sign(seal, "sign it with this secret key file")
    for name, where in (("--state", "for its recipients"), ("--state-public", "for everybody")):
        seal.add_argument(name, action="append", default=[], type=statement, metavar="NAME=VALUE", help=f"state something {where}; repeat")
    seal.add_argument("--digest", choices=("blake3", "sha256"), default="blake3", help="hash of a signed file's segments (default blake3)")
    add_audit(seal)
    add_json(seal)
    who = seal.add_argument_group("who can open it")
    to = who.add_mutually_exclusive_group(required=True)
    add_recipients(to, "a recipient")
    to.add_argument("--roster", type=Path, metavar="FILE", help="all recipients of a roster")
    to.add_argument("--passphrase", action="store_true", help="whoever knows the passphrase, and nobody else")
    add_passphrase_file(who)
    _add_policy(seal)
    seal.set_defaults(handler=_seal)

    open_ = commands.add_parser(
        "open",
        help="decrypt a sealed file",
        description="Checks and decrypts a sealed file; what comes out is, byte for byte, the safetensors file that went in. Without "
        "--trusted or --roster a note says what is not proved about who sealed it.",
        reads="SEALED, the secret key of --identity, public keys or a roster",
        writes="FILE (mode 0600), complete or not at all; an entry in the log of --audit, also of an attempt that fails",
        never="writes a byte that was not checked, or asks anybody on the network but a --keyserver",
        examples=(
            (
                "stfed open sealed.safetensors --identity bob.key --trusted alice.key.pub --out model.safetensors",
                "as Bob, if Alice sealed it",
            ),
            (
                "stfed open sealed.safetensors --identity bob.key --roster team.toml --purpose research --pins seen.db "
                "--out model.safetensors",
                "for a purpose that its policy names, and no older version than was seen before",
            ),
            (
                "stfed open sealed.safetensors --keyserver https://keys.example.org:8443 --service-key service.pub --sign bob.key "
                "--trusted alice.key.pub --out model.safetensors",
                "with the key from a key service",
            ),
        ),
    )
    open_.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    open_.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the plain file")
    add_audit(open_)
    add_json(open_)
    add_opening(open_, keyserver=True)
    add_trusted(open_.add_argument_group("who must have sealed it"))
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
        manifest = seal_file(
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
    if arguments.json:
        print_json({"file": str(arguments.file), "out": str(arguments.out), **sealed_facts(manifest)})
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
    with progress(arguments.file, "opening", timed=bool(arguments.keyserver)) as advance:
        reader = open_file(arguments.file, arguments.out, progress=advance, **options)
    if arguments.json:
        print_json(facts(arguments, reader, trusted))
    note(f"{arguments.file} {origin(reader, trusted)}")
    if reader.access.grant is not None:
        note(granted(reader.access.who, reader.access.grant))
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
