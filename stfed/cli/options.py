"""What several commands take: keys, whom to trust, times, statements. One place, so that an option means the same everywhere."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli.passphrases import Passphrases, add_passphrase_file
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.keys import Recipient, Roster, SigningKey, VerifyingKey
    from stfed.sealed.manifest import Manifest
    from stfed.sealed.options import OpenOptions
    from stfed.sealed.statements import Scalar

    Trusted = Roster | list[str] | VerifyingKey | None

Arguments = argparse._ActionsContainer  # a parser or a group of one

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def moment(text: str) -> datetime:
    """A time in ISO 8601 with its zone, or a date, which is midnight in UTC: for `type=` of an argument."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.min
    if _DATE.fullmatch(text) and time > datetime.min:
        return time.replace(tzinfo=UTC)
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2027-01-31T12:00:00Z, or 2027-01-31 for midnight in UTC")
    return time


def statement(text: str) -> tuple[str, Scalar]:
    """`NAME=VALUE`: a value that is a JSON number, true, false, null or quoted text counts as that, any other as text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} states nothing; write NAME=VALUE")
    try:
        parsed = json.loads(value)
    except ValueError:
        return name, value
    return name, value if isinstance(parsed, list | dict) else parsed


def statements(pairs: list[tuple[str, Scalar]]) -> dict[str, Scalar]:
    """All of them; LocalError if one is made twice."""
    stated = dict(pairs)
    if len(stated) < len(pairs):
        raise LocalError("something is stated twice", hint="give each name once")
    return stated


def add_recipients(parser: Arguments, text: str, *, required: bool = False) -> None:
    """Adds `--recipient`."""
    parser.add_argument(
        "--recipient",
        action="append",
        required=required,
        dest="recipients",
        metavar="KEY.pub",
        help=f"{text}: a public key file or age1... string; repeat",
    )


def add_sign(parser: Arguments, text: str, *, required: bool = False) -> None:
    """Adds `--sign`."""
    parser.add_argument("--sign", type=Path, required=required, metavar="KEY", help=text)


def add_trusted(parser: Arguments, *, required: bool = False) -> None:
    """Adds `--trusted` and `--roster`, of which one counts."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(
        "--trusted", action="append", metavar="KEY.pub", help="refuse what this key did not sign: a file or stfedsig1... string; repeat"
    )
    group.add_argument("--roster", type=Path, metavar="FILE", help="refuse what no owner or coordinator of this roster signed")


def add_generation(parser: Arguments) -> None:
    """Adds `--generation`."""
    parser.add_argument("--generation", type=int, default=1, metavar="N", help="refuse an envelope older than this generation (default 1)")


def add_audit(parser: Arguments) -> None:
    """Adds `--audit`."""
    parser.add_argument("--audit", type=Path, metavar="LOG", help="write what happens to this audit log; made if there is none")


def add_json(parser: Arguments, text: str = "print one JSON object") -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help=text)


def add_opening(parser: argparse.ArgumentParser, *, keyserver: bool = False) -> None:
    """Adds how a file is opened: the key to it, or who has it; and what is asked of the file."""
    opening = parser.add_argument_group("what opens the file")
    key = opening.add_mutually_exclusive_group(required=True)
    key.add_argument("--identity", action="append", type=Path, dest="identities", metavar="KEY", help="a secret key file; repeat")
    key.add_argument("--passphrase", action="store_true", help="the file is sealed under a passphrase")
    if keyserver:
        key.add_argument("--keyserver", metavar="URL", help="ask this key service for the file's key: https://HOST:PORT")
    add_passphrase_file(opening)
    asked = parser.add_argument_group("which file it must be")
    asked.add_argument("--purpose", metavar="TEXT", help="what the file is opened for, if its policy names purposes")
    add_generation(asked)
    asked.add_argument("--pins", type=Path, metavar="FILE", help="remember each model's newest version here and refuse older ones")
    asked.add_argument("--model-id", metavar="NAME", help="refuse a file that is not of this model")
    asked.add_argument("--file-id", metavar="HEX", help="refuse any file but this one, as `stfed inspect` shows it")


def opening(arguments: argparse.Namespace, passphrases: Passphrases, trusted: Trusted) -> OpenOptions:
    """What `add_opening` asked for, key files read, and whom the command trusts."""
    from stfed.keys import read_identity

    options: OpenOptions = {
        "trusted": trusted,
        "purpose": arguments.purpose,
        "generation": arguments.generation,
        "pins": arguments.pins,
        "model_id": arguments.model_id,
        "file_id": arguments.file_id,
        "audit": arguments.audit,
    }
    if arguments.identities:
        options["identity"] = [read_identity(path, passphrases.of(path)) for path in arguments.identities]
    if arguments.passphrase:
        options["passphrase"] = passphrases.of(arguments.file)
    return options


def sealed_facts(manifest: Manifest) -> dict[str, Any]:
    """What names a sealed file, under the names that every `--json` has for it."""
    context = manifest.context
    return {
        "file_id": context.file_id.hex(),
        "manifest_sha256": manifest.sha256.hex(),
        "time": f"{context.time:%Y-%m-%dT%H:%M:%SZ}",
        "signers": [key.fingerprint for key in context.signers],
    }


def signing_key(path: Path, passphrases: Passphrases) -> SigningKey:
    """The key in a KEY file."""
    from stfed.keys import read_signer

    return read_signer(path, passphrases.of(path))


def trust(arguments: argparse.Namespace) -> Trusted:
    """Whom `add_trusted` names; None if nobody."""
    from stfed.keys import Roster

    trusted: list[str] | None = arguments.trusted
    return Roster.read(arguments.roster) if arguments.roster else trusted


def valid_keys(roster: Roster) -> dict[str, Recipient]:
    """The encryption keys that a roster lets anybody use for anything now, by name."""
    from stfed.keys import Role

    now = datetime.now(UTC)
    keys = dict.fromkeys(key for role in Role for key in roster.recipients(role, now=now))
    members = ((roster.by_recipient(key), key) for key in keys)
    return {member.name: key for member, key in members if member is not None}


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()
