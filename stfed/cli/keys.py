"""`stfed keygen | fingerprint`: keys to decrypt, to sign and to compute with, and what people compare over the telephone."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stfed.cli import note
from stfed.cli.options import add_json, add_sign, print_json, signing_key
from stfed.cli.passphrases import VARIABLE, Passphrases, add_passphrase_file
from stfed.cli.progress import working

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.keys.keytext import PublicKeys


def register(commands: Commands) -> None:
    """Adds both commands."""
    keygen = commands.add_parser(
        "keygen",
        help="make a key pair for sealed files, or for encrypted tensors",
        description="Writes KEY, the secrets, for your eyes only, and KEY.pub, to give to those who seal files for you or verify what you "
        "sign. Prints the fingerprints of the public keys, to be compared over another channel. With --encrypted, KEY decrypts tensors, "
        "and KEY.pub is for those who encrypt them and compute on them.",
        reads="the system's random numbers; with --encrypted --sign a secret key file",
        writes="KEY (mode 0600) and KEY.pub",
        never="overwrites a key, prints a secret, or takes a passphrase as an argument",
        examples=(
            ("stfed keygen --out alice.key", "to decrypt and to sign"),
            ("stfed keygen --out alice.key --passphrase", "protected by a passphrase, which is asked for"),
            ("stfed keygen --out archive.key --only encryption", "a file that age reads too"),
            ("stfed keygen --encrypted --out tensors.key --sign alice.key", "for arithmetic on encrypted tensors"),
        ),
    )
    keygen.add_argument("--out", type=Path, required=True, metavar="KEY", help="where to write the secret keys; KEY.pub goes beside them")
    keygen.add_argument("--kind", choices=("hybrid", "x25519"), help="to decrypt: hybrid is post-quantum (default)")
    keygen.add_argument(
        "--signing",
        choices=("ed25519", "ed25519-mldsa65", "none"),
        help="to sign: ed25519 (default), with ML-DSA-65 beside it, or none",
    )
    keygen.add_argument("--only", choices=("encryption", "signing"), help="leave the other key out; age reads a file with encryption only")
    keygen.add_argument("--passphrase", action="store_true", help=f"protect KEY with a passphrase, from the terminal or {VARIABLE}")
    add_passphrase_file(keygen)
    add_json(keygen)
    tensors = keygen.add_argument_group("keys for encrypted tensors")
    tensors.add_argument("--encrypted", action="store_true", help="make such keys, and no others")
    what = tensors.add_mutually_exclusive_group()
    what.add_argument("--depth", type=int, metavar="N", help="multiplications one after the other that they allow (default 2)")
    what.add_argument("--sums", action="store_true", help="for the sums of a federated run, and nothing else")
    tensors.add_argument("--no-rotations", action="store_true", help="a small KEY.pub, without sums over elements and matrix products")
    add_sign(tensors, "sign KEY.pub with this secret key file, for those who trust it")
    keygen.set_defaults(handler=_keygen, wrong=keygen.error)

    fingerprint = commands.add_parser(
        "fingerprint",
        help="show the fingerprints of public keys",
        description="Prints a line for each public key: what it is for, its kind, its fingerprint, and the file it is in. Two people who "
        "read the same fingerprint to each other have the same key.",
        reads="KEY.pub",
        never="needs a secret key, or says whose key it is: that is for people to compare, and for a roster to keep",
        examples=(
            ("stfed fingerprint alice.key.pub", "to be read out over the telephone"),
            ("stfed fingerprint alice.key.pub bob.key.pub --json", "of several, for a script"),
        ),
    )
    fingerprint.add_argument("files", nargs="+", type=Path, metavar="KEY.pub", help="public key files")
    add_json(fingerprint)
    fingerprint.set_defaults(handler=_fingerprint)


def _keygen(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from stfed.keys import SigningKey, generate_keypair, write_keypair
    from stfed.keys.keyfile import read_public_keys

    if arguments.encrypted:
        return _encrypted(arguments)
    if arguments.depth is not None or arguments.sums or arguments.no_rotations or arguments.sign:
        arguments.wrong("--depth, --sums, --no-rotations and --sign are for --encrypted")
    passphrase = _new_passphrase(arguments, Passphrases(arguments.passphrase_file))
    identity = None if arguments.only == "signing" else generate_keypair(arguments.kind or "hybrid")[0]
    wants_signing = arguments.only != "encryption" and arguments.signing != "none"
    signing = SigningKey.generate(arguments.signing or "ed25519") if wants_signing else None
    public = write_keypair(arguments.out, identity, signing, created=datetime.now(UTC), passphrase=passphrase)
    rows = _rows(read_public_keys(public))
    if arguments.json:
        print_json({"secret": str(arguments.out), "public": str(public), "keys": [row._asdict() for row in rows]})
    else:
        print("\n".join(_line(row, public) for row in rows))
    note(f"keep {arguments.out} to yourself, give {public} to those who seal files for you or verify what you sign")
    return 0


def _new_passphrase(arguments: argparse.Namespace, passphrases: Passphrases) -> Callable[[], str] | None:
    return passphrases.new(arguments.out) if arguments.passphrase or arguments.passphrase_file else None


def _encrypted(arguments: argparse.Namespace) -> int:
    from stfed.encrypted.context import SecretContext
    from stfed.encrypted.keyfiles import save_keypair
    from stfed.encrypted.parameters import Parameters

    if arguments.kind or arguments.signing or arguments.only:
        arguments.wrong("--kind, --signing and --only are not for --encrypted")
    passphrases = Passphrases(arguments.passphrase_file)
    signer = signing_key(arguments.sign, passphrases) if arguments.sign else None
    if arguments.sums:
        from stfed.flower.ckks import SUMS as parameters
    else:
        parameters = Parameters() if arguments.depth is None else Parameters.for_depth(arguments.depth)

    def make() -> SecretContext:
        with working("making the keys", at_once=True):
            return SecretContext.generate(parameters, rotations=not (arguments.no_rotations or arguments.sums))

    made = save_keypair(make, arguments.out, passphrase=_new_passphrase(arguments, passphrases), signer=signer)
    public = f"{arguments.out}.pub"
    facts: dict[str, Any] = {
        "secret": str(arguments.out),
        "public": public,
        "fingerprint": made.fingerprint.hex(),
        "parameters": str(parameters),
        "rotations": made.rotates,
        "signer": signer.public.fingerprint if signer else None,
    }
    if arguments.json:
        print_json(facts)
    else:
        print(f"encrypted tensors  {made.fingerprint.hex()}  {public}")
        print(f"                   {parameters}{'' if made.rotates else ', no rotations'}")
    how = "your signature" if signer else "this fingerprint, which you tell them over another channel"
    note(f"keep {arguments.out} to yourself: it decrypts")
    note(f"give {public} to those who encrypt or compute: it cannot decrypt. They load it by {how}")
    return 0


def _fingerprint(arguments: argparse.Namespace) -> int:
    found = [(path, _of(path)) for path in arguments.files]
    if arguments.json:
        print_json({"keys": [{"file": str(path), **row._asdict()} for path, rows in found for row in rows]})
    else:
        print("\n".join(_line(row, path) for path, rows in found for row in rows))
    return 0


def _of(path: Path) -> list[_Row]:
    from stfed.encrypted.keyinspect import inspect_key_file, is_key_file
    from stfed.keys.keyfile import read_public_keys
    from stfed.sealed.errors import TamperedError

    if not (path.is_file() and is_key_file(path)):
        return _rows(read_public_keys(path))
    info = inspect_key_file(path)
    if info.signature not in ("none", "valid"):
        raise TamperedError(f"{path}: {info.signature}")
    return [_Row("encrypted tensors", "ckks", info.fingerprint)]


class _Row(NamedTuple):
    """One public key, by the names of `--json`."""

    use: str
    kind: str
    fingerprint: str


def _line(row: _Row, path: Path) -> str:
    if row.kind == "ckks":
        return f"{row.use}  {row.fingerprint}  {path}"
    return f"{row.use:<10}  {row.kind:<15}  {row.fingerprint}  {path}"


def _rows(keys: PublicKeys) -> list[_Row]:
    rows = [_Row("encryption", keys.recipient.kind.nickname, keys.recipient.fingerprint)] if keys.recipient else []
    return rows + ([_Row("signing", str(keys.verifier.kind), keys.verifier.fingerprint)] if keys.verifier else [])
