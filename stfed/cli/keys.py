"""`stfed keygen | fingerprint`: keys to decrypt and to sign with, and what people compare over the telephone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.passphrases import VARIABLE, Passphrases, add_passphrase_file

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.keys.keytext import PublicKeys


def register(commands: Commands) -> None:
    """Adds both commands."""
    keygen = commands.add_parser(
        "keygen",
        help="make a key pair for sealed files",
        description="Writes KEY, the secrets, for your eyes only, and KEY.pub, to give to those who seal files for you or verify what you "
        "sign. Prints the fingerprints of the public keys, to be compared over another channel.",
        epilog="example: stfed keygen --out alice.key",
        allow_abbrev=False,
    )
    keygen.add_argument("--out", type=Path, required=True, metavar="KEY", help="where to write the secret keys; KEY.pub goes beside them")
    keygen.add_argument("--kind", choices=("hybrid", "x25519"), default="hybrid", help="to decrypt: hybrid is post-quantum (default)")
    keygen.add_argument(
        "--signing",
        choices=("ed25519", "ed25519-mldsa65", "none"),
        default="ed25519",
        help="to sign: ed25519 (default), with ML-DSA-65 beside it, or none",
    )
    keygen.add_argument("--only", choices=("encryption", "signing"), help="leave the other key out; age reads a file with encryption only")
    keygen.add_argument("--passphrase", action="store_true", help=f"protect KEY with a passphrase, from the terminal or {VARIABLE}")
    add_passphrase_file(keygen)
    keygen.set_defaults(handler=_keygen)

    fingerprint = commands.add_parser(
        "fingerprint",
        help="show the fingerprints of public keys",
        description="Prints a line for each public key: what it is for, its kind, its fingerprint, and the file it is in.",
        epilog="example: stfed fingerprint alice.key.pub",
        allow_abbrev=False,
    )
    fingerprint.add_argument("files", nargs="+", type=Path, metavar="KEY.pub", help="public key files")
    fingerprint.set_defaults(handler=_fingerprint)


def _keygen(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from stfed.keys import SigningKey, generate_keypair, write_keypair
    from stfed.keys.keyfile import read_public_keys

    passphrase = Passphrases(arguments.passphrase_file).new(arguments.out) if arguments.passphrase or arguments.passphrase_file else None
    identity = None if arguments.only == "signing" else generate_keypair(arguments.kind)[0]
    wants_signing = arguments.only != "encryption" and arguments.signing != "none"
    signing = SigningKey.generate(arguments.signing) if wants_signing else None
    public = write_keypair(arguments.out, identity, signing, created=datetime.now(UTC), passphrase=passphrase)
    _print(read_public_keys(public), public)
    print(f"keep {arguments.out} to yourself, give {public} to those who seal files for you or verify what you sign", file=sys.stderr)
    return 0


def _fingerprint(arguments: argparse.Namespace) -> int:
    from stfed.keys.keyfile import read_public_keys

    for path, keys in [(path, read_public_keys(path)) for path in arguments.files]:
        _print(keys, path)
    return 0


def _print(keys: PublicKeys, path: Path) -> None:
    if keys.recipient:
        print(f"encryption  {keys.recipient.kind.nickname:<15}  {keys.recipient.fingerprint}  {path}")
    if keys.verifier:
        print(f"signing     {keys.verifier.kind:<15}  {keys.verifier.fingerprint}  {path}")
