"""`stfed audit`: what the log says, that it is whole, and proofs of single entries for people who do not have it.

Whoever keeps a log can rewrite all of it; checkpoints in other hands are what shows that. So the texts here go to stdout, to be given away.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import auditlog, auditproof
from stfed.cli.options import add_json, add_sign, moment
from stfed.cli.passphrases import add_passphrase_file

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.cli.parser import Parser

_KEYS = "a KEY.pub, or NAME+ID+KEY as `stfed audit checkpoint` shows it; repeat"


def register(commands: Commands) -> None:
    """Adds `audit` with its commands."""
    audit = commands.add_parser(
        "audit",
        help="read, verify and prove what the audit log says",
        description="Reads an audit log, as --audit of the other commands writes it, verifies it, and proves its entries to others. "
        "Whoever has the log's file can rewrite all of it; checkpoints in other hands show that.",
        examples=(
            ("stfed audit log audit.db --recipient bob.key.pub", "who gave Bob access, or took it"),
            ("stfed audit checkpoint audit.db --sign alice.key", "what the log holds now, to be given away"),
            ("stfed audit verify audit.db --trusted alice.key.pub --known checkpoint", "is it still the log of that checkpoint?"),
        ),
    )
    verbs: Commands = audit.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_log(verbs)
    _add_verify(verbs)
    _add_checkpoint(verbs)
    _add_cosign(verbs)
    _add_prove(verbs)
    _add_check(verbs)


def _add_log(verbs: Commands) -> None:
    log = verbs.add_parser(
        "log",
        help="print the log's entries, oldest first",
        description="Prints the entries of a log, oldest first, each on one line, as they are read. Several conditions must all hold.",
        reads="LOG, and the roster for names",
        never="changes the log, or says that it is whole: that is for stfed audit verify",
        examples=(
            ("stfed audit log audit.db --recipient bob.key.pub --roster team.toml", "what Bob was given, with names"),
            ("stfed audit log audit.db --kind open-failed --since 2027-01-31", "who tried in vain since then"),
            ("stfed audit log audit.db --json", "all of it, for a script"),
        ),
    )
    _add_log_file(log)
    log.add_argument("--roster", type=Path, metavar="FILE", help="show names of this roster beside fingerprints")
    add_json(log, "print one JSON object a line")
    only = log.add_argument_group("only these")
    only.add_argument("--kind", metavar="KIND", help="of this kind: seal, open, open-failed, grant, revoke, key-release, ...")
    only.add_argument("--file-id", metavar="HEX", help="about this file, as `stfed inspect` shows it")
    only.add_argument("--actor", metavar="FINGERPRINT", help="by this key")
    only.add_argument("--recipient", metavar="KEY.pub", help="who gave this key access or took it: a file, age1... text or fingerprint")
    only.add_argument("--since", type=moment, metavar="TIME", help="from then on: 2027-01-31T12:00:00Z, or a date")
    only.add_argument("--until", type=moment, metavar="TIME", help="before then")
    log.set_defaults(handler=auditlog.log)


def _add_verify(verbs: Commands) -> None:
    verify = verbs.add_parser(
        "verify",
        help="read the whole log again and say whether it is what was appended",
        description="Reads the whole log again: every entry parses, all hashes follow from the entries, and every checkpoint is the head "
        "of the log at its size. Only a checkpoint that was kept elsewhere (--known) shows a log that was rewritten as a whole.",
        reads="LOG, and checkpoints",
        never="changes the log",
        examples=(
            ("stfed audit verify audit.db --trusted alice.key.pub", "and were the checkpoints signed by Alice?"),
            (
                "stfed audit verify audit.db --trusted alice.key.pub --known checkpoint --json",
                "and did it grow from this one? for a script",
            ),
        ),
    )
    _add_log_file(verify)
    verify.add_argument("--trusted", action="append", default=[], metavar="KEY.pub", help=f"the log's key: {_KEYS}")
    verify.add_argument(
        "--known", action="append", default=[], type=Path, metavar="CHECKPOINT", help="a checkpoint got earlier: is it its past? repeat"
    )
    add_json(verify)
    verify.set_defaults(handler=auditlog.verify)


def _add_checkpoint(verbs: Commands) -> None:
    checkpoint = verbs.add_parser(
        "checkpoint",
        help="sign what the log holds now, to be given to others",
        description="Prints what the log holds now, signed: its size and the hash of all its entries. Give it away: who has it notices "
        "when the log is rewritten.",
        reads="LOG and the log's secret signing key",
        writes="the checkpoint into LOG too",
        never="shows what the entries say",
        examples=(
            ("stfed audit checkpoint audit.db --sign alice.key > checkpoint", "to be kept by others"),
            ("stfed audit checkpoint audit.db --sign alice.key --since 120 > request", "for a cosigner who saw 120 entries"),
        ),
    )
    _add_log_file(checkpoint)
    add_sign(checkpoint, "the log's secret signing key", required=True)
    add_passphrase_file(checkpoint)
    checkpoint.add_argument(
        "--since", type=int, metavar="SIZE", help="with the proof that it grew from SIZE entries, which a cosigner who saw those needs"
    )
    checkpoint.set_defaults(handler=auditlog.checkpoint)


def _add_cosign(verbs: Commands) -> None:
    cosign = verbs.add_parser(
        "cosign",
        help="add your signature to a log's checkpoint, if it grew from the last one you saw",
        description="Prints a checkpoint with your signature added, which says that the log grew from the last one you saw: it has no "
        "other history for you than for others who hold a checkpoint that you cosigned.",
        reads="CHECKPOINT, your secret key, and what you saw last",
        writes="what you saw last, into --state",
        never="signs a checkpoint that is not signed by the log's key, or one that contradicts an earlier one",
        examples=(
            ("stfed audit cosign checkpoint --sign carol.key --state carol.seen --trusted alice.key.pub > cosigned", "as Carol"),
            ("stfed audit cosign audit.db --sign carol.key --state carol.seen --trusted alice.key.pub", "the newest one in a log"),
        ),
    )
    cosign.add_argument("file", type=Path, metavar="CHECKPOINT", help="a checkpoint, with or without --since; or a log, for its newest one")
    add_sign(cosign, "your secret key", required=True)
    add_passphrase_file(cosign)
    cosign.add_argument("--state", type=Path, required=True, metavar="FILE", help="what you saw last of each log; made by the first time")
    cosign.add_argument("--trusted", action="append", required=True, metavar="KEY.pub", help=f"the log's key: {_KEYS}")
    cosign.add_argument("--name", metavar="NAME", help="sign as NAME, always the same (default: the key's fingerprint)")
    cosign.set_defaults(handler=auditproof.cosign)


def _add_prove(verbs: Commands) -> None:
    prove = verbs.add_parser(
        "prove",
        help="print a proof that an entry is in the log",
        description="Prints one entry with the proof that it is in the log of a checkpoint, for somebody who does not have the log.",
        reads="LOG, and the checkpoint or the log's secret signing key",
        writes="with --sign a new checkpoint into LOG",
        never="shows any other entry",
        examples=(
            ("stfed audit prove audit.db 7 --checkpoint cosigned > proof", "under a checkpoint that others have"),
            ("stfed audit prove audit.db 7 --sign alice.key > proof", "under a new one"),
        ),
    )
    _add_log_file(prove)
    prove.add_argument("index", type=int, metavar="INDEX", help="the entry's number, as `stfed audit log` shows it")
    under = prove.add_mutually_exclusive_group()
    add_sign(under, "make a new checkpoint with the log's secret signing key")
    under.add_argument("--checkpoint", type=Path, metavar="FILE", help="under this checkpoint (default: the newest in the log)")
    add_passphrase_file(prove)
    prove.set_defaults(handler=auditproof.prove)


def _add_check(verbs: Commands) -> None:
    check = verbs.add_parser(
        "check",
        help="check a proof, without the log, and print the entry",
        description="Checks a proof, without the log, and prints the entry that it proves.",
        reads="PROOF and public keys",
        never="needs the log, or a secret key",
        examples=(
            ("stfed audit check proof --trusted alice.key.pub", "under a checkpoint that Alice signed"),
            ("stfed audit check proof --trusted alice.key.pub --cosigner carol.key.pub --json", "and Carol cosigned, for a script"),
        ),
    )
    check.add_argument("file", type=Path, metavar="PROOF", help="what `stfed audit prove` printed")
    check.add_argument("--trusted", action="append", required=True, metavar="KEY.pub", help=f"the log's key: {_KEYS}")
    check.add_argument("--cosigner", action="append", default=[], dest="cosigners", metavar="KEY.pub", help=f"must have cosigned: {_KEYS}")
    check.add_argument("--quorum", type=int, metavar="N", help="how many of the cosigners are enough (default: all)")
    check.add_argument("--entry", type=Path, metavar="FILE", help="the entry itself, if it is not in the proof")
    add_json(check)
    check.set_defaults(handler=auditproof.check)


def _add_log_file(parser: Parser) -> None:
    parser.add_argument("file", type=Path, metavar="LOG", help="the audit log")
