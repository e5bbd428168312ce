"""What `stfed audit log`, `verify` and `checkpoint` do: the work of whoever has the log."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.cli.options import print_json, signing_key
from stfed.cli.passphrases import Passphrases
from stfed.cli.progress import counting, working
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.audit import AuditLog, Entry, Report, VerifierKey
    from stfed.keys import Member
    from stfed.keys.member import Retired

_FINGERPRINT = re.compile(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b")


def log(arguments: argparse.Namespace) -> int:
    """Prints entries as they are read."""
    named = _names(arguments.roster)
    with opened(arguments.file) as audit:
        entries = audit.search(
            kind=arguments.kind,
            file_id=arguments.file_id,
            actor=arguments.actor,
            recipient=None if arguments.recipient is None else _recipient(arguments.recipient),
            since=arguments.since,
            until=arguments.until,
        )
        with working("searching the log"):
            first = next(entries, None)
        for entry in chain([first] if first else [], entries):
            print(json.dumps(facts(entry)) if arguments.json else named(line(entry)))
    return 0


def facts(entry: Entry) -> dict[str, Any]:
    """An entry for machines."""
    time = entry.time.isoformat().replace("+00:00", "Z")
    return {"index": entry.index, "time": time, "kind": str(entry.event.kind), "fields": dict(entry.event.fields)}


def line(entry: Entry) -> str:
    """An entry for people: on one line, whatever is in its texts."""
    said = "  ".join(f"{name}={_shown(value)}" for name, value in entry.event.fields.items() if value not in (None, ""))
    return f"{entry.index}  {entry.time:%Y-%m-%d %H:%M:%S}  {entry.event.kind}  {said}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() and " " not in text else json.dumps(text)


def _recipient(text: str) -> str:
    """The fingerprint that entries name a recipient by."""
    from stfed.keys import read_recipient

    return text if _FINGERPRINT.fullmatch(text) else read_recipient(text).fingerprint


def _names(path: Path | None) -> Callable[[str], str]:
    """Puts a name behind each fingerprint that a roster knows."""
    from stfed.keys import Roster

    if path is None:
        return str
    roster = Roster.read(path)
    entries: list[Member | Retired] = [*roster.members, *roster.retired]
    names = {key.fingerprint: entry.name for entry in entries for key in (entry.encryption, entry.signing) if key}

    def named(text: str) -> str:
        return _FINGERPRINT.sub(lambda match: f"{match[0]} ({names[match[0]]})" if match[0] in names else match[0], text)

    return named


def verify(arguments: argparse.Namespace) -> int:
    """Verifies the whole log."""

    with opened(arguments.file) as audit:
        known = [path.read_bytes() for path in arguments.known]
        keys = log_keys(arguments.trusted, audit.origin)
        with counting("reading the log") as reached:
            report = audit.verify(trusted_keys=keys, known=known, progress=reached)
    if arguments.json:
        print_json({"file": str(arguments.file), **_report(report)})
    else:
        rows = {**_report(report), "kinds": ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))}
        print("\n".join(f"{name:<11}  {value}" for name, value in rows.items() if value not in (None, "")))
    if not report.signed:
        note("no key was given, so no checkpoint's signature was verified: use --trusted")
    if report.covered < report.size:
        note(f"no checkpoint covers the entries from {report.covered} on: whoever keeps the log can still change them")
    if not arguments.known:
        note("only a checkpoint that was kept elsewhere shows a log that was rewritten as a whole: use --known")
    return 0


def _report(report: Report) -> dict[str, Any]:
    return {
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "checkpoints": report.checkpoints,
        "covered": report.covered,
        "signed": report.signed,
        "first": None if report.first is None else report.first.isoformat(),
        "last": None if report.last is None else report.last.isoformat(),
        "kinds": {str(kind): count for kind, count in sorted(report.kinds.items())},
    }


def checkpoint(arguments: argparse.Namespace) -> int:
    """Signs a checkpoint."""
    from stfed.audit import log_key

    signer = signing_key(arguments.sign, Passphrases(arguments.passphrase_file))
    with opened(arguments.file, read_only=False) as audit:
        text = audit.checkpoint(signer)
        print(text if arguments.since is None else audit.cosign_request(arguments.since, text), end="")
        note(f"who trusts the log verifies this with {arguments.sign}.pub, or with {log_key(audit.origin, signer)}")
    return 0


def log_keys(texts: Iterable[str], origin: str) -> list[VerifierKey]:
    """The keys of a log: from vkeys, or KEY.pub files, whose Ed25519 key then counts for the log of this origin."""
    from stfed.audit import VerifierKey, log_key
    from stfed.audit.signatures import Algorithm
    from stfed.keys import read_verifier

    keys = [VerifierKey.parse(text) if "+" in text else log_key(origin, read_verifier(text).ed25519) for text in texts]
    for key in keys:
        if key.algorithm is not Algorithm.NOTE:
            raise LocalError(f"{key} is a cosigner's key, not a log's", hint="give it as --cosigner")
    return keys


@contextmanager
def opened(path: Path, *, read_only: bool = True) -> Iterator[AuditLog]:
    """A log that is there: nothing is made, and evidence is not changed by being read."""
    from stfed.audit import AuditLog

    with AuditLog(path, create=False, read_only=read_only) as audit:
        yield audit
