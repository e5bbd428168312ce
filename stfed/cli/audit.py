"""`stfed audit`: what the log says, that it is whole, and proofs of single entries for people who do not have it.

Whoever keeps a log can rewrite all of it; checkpoints in other hands are what shows that. So the texts here go to stdout, to be given away.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import auditlog, auditproof
from stfed.cli.options import add_sign, moment
from stfed.cli.passphrases import add_passphrase_file

if TYPE_CHECKING:
    from stfed.cli import Commands

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

_KEYS = "a KEY.pub, or NAME+ID+KEY as `stfed audit checkpoint` shows it; repeat"


def register(commands: Commands) -> None:
    """Adds `audit` with its commands."""
    audit = commands.add_parser(
        "audit",
        help="read, verify and prove what the audit log says",
        description="Reads an audit log, as `--audit` of the other commands writes it, verifies it, and proves its entries to others.",
        epilog="example: stfed audit log audit.db --recipient bob.key.pub",
        allow_abbrev=False,
    )
    verbs: Verbs = audit.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_log(verbs)

    verify = _verb(verbs, "verify", "read the whole log again and say whether it is what was appended", auditlog.verify)
    _add_log_file(verify)
    verify.add_argument("--trusted", action="append", default=[], metavar="KEY", help=f"the log's key: {_KEYS}")
    verify.add_argument(
        "--known", action="append", default=[], type=Path, metavar="CHECKPOINT", help="a checkpoint got earlier: is it its past? repeat"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")

    checkpoint = _verb(verbs, "checkpoint", "sign what the log holds now, to be given to others", auditlog.checkpoint)
    _add_log_file(checkpoint)
    add_sign(checkpoint, "the log's secret signing key", required=True)
    add_passphrase_file(checkpoint)
    checkpoint.add_argument(
        "--since", type=int, metavar="SIZE", help="with the proof that it grew from SIZE entries, which a cosigner who saw those needs"
    )

    cosign = _verb(verbs, "cosign", "add your signature to a log's checkpoint, if it grew from the last one you saw", auditproof.cosign)
    cosign.add_argument("file", type=Path, metavar="CHECKPOINT", help="a checkpoint, with or without --since; or a log, for its newest one")
    add_sign(cosign, "your secret key", required=True)
    add_passphrase_file(cosign)
    cosign.add_argument("--state", type=Path, required=True, metavar="FILE", help="what you saw last of each log; made by the first time")
    cosign.add_argument("--trusted", action="append", required=True, metavar="KEY", help=f"the log's key: {_KEYS}")
    cosign.add_argument("--name", metavar="NAME", help="sign as NAME, always the same (default: the key's fingerprint)")

    prove = _verb(verbs, "prove", "print a proof that an entry is in the log", auditproof.prove)
    _add_log_file(prove)
    prove.add_argument("index", type=int, metavar="INDEX", help="the entry's number, as `stfed audit log` shows it")
    under = prove.add_mutually_exclusive_group()
    add_sign(under, "make a new checkpoint with the log's secret signing key")
    under.add_argument("--checkpoint", type=Path, metavar="FILE", help="under this checkpoint (default: the newest in the log)")
    add_passphrase_file(prove)

    check = _verb(verbs, "check", "check a proof, without the log, and print the entry", auditproof.check)
    check.add_argument("file", type=Path, metavar="PROOF", help="what `stfed audit prove` printed")
    check.add_argument("--trusted", action="append", required=True, metavar="KEY", help=f"the log's key: {_KEYS}")
    check.add_argument("--cosigner", action="append", default=[], dest="cosigners", metavar="KEY", help=f"must have cosigned: {_KEYS}")
    check.add_argument("--quorum", type=int, metavar="N", help="how many of the cosigners are enough (default: all)")
    check.add_argument("--entry", type=Path, metavar="FILE", help="the entry itself, if it is not in the proof")
    check.add_argument("--json", action="store_true", help="print one JSON object")


def _add_log(verbs: Verbs) -> None:
    log = _verb(verbs, "log", "print the log's entries, oldest first", auditlog.log)
    _add_log_file(log)
    log.add_argument("--kind", metavar="KIND", help="only these: seal, open, open-failed, grant, revoke, key-release, ...")
    log.add_argument("--file-id", metavar="HEX", help="only about this file, as `stfed inspect` shows it")
    log.add_argument("--actor", metavar="FINGERPRINT", help="only by this key")
    log.add_argument("--recipient", metavar="KEY.pub", help="only who gave this key access or took it: a file, age1... text or fingerprint")
    log.add_argument("--since", type=moment, metavar="TIME", help="from then on: 2027-01-31T12:00:00Z, or a date")
    log.add_argument("--until", type=moment, metavar="TIME", help="before then")
    log.add_argument("--roster", type=Path, metavar="FILE", help="show names of this roster beside fingerprints")
    log.add_argument("--json", action="store_true", help="print one JSON object a line")


def _verb(verbs: Verbs, name: str, text: str, handler: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(handler=handler)
    return parser


def _add_log_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="LOG", help="the audit log")
