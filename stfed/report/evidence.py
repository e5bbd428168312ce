"""What can be checked by others: sealed files, and the audit log; and what the report was written with."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stfed.errors import StfedError
from stfed.report.blocks import Block, Fact, Facts, Section, Table, Text
from stfed.report.eventlog import Event
from stfed.report.run import Run
from stfed.report.story import facts_of, size

_PACKAGES = ("stfed", "flwr", "numpy", "torch", "cryptography", "dp-accounting", "tenseal")
_FILE_ROWS = 40
AUDIT = "audit.db"
"""What `stfed run` calls the audit log in the folder of a run."""


def files(run: Run, folder: Path) -> Section:
    """The sealed models, as they lie there now."""
    if not run.models:
        return Section("Files", [Text("No model was saved.")])
    shown = run.models[-_FILE_ROWS:]
    blocks: list[Block] = [
        Text(
            "Each round's model, encrypted, and signed if a signer was given. Without the key of one of its recipients nobody can read it. "
            "A file says how many recipients it has, not who they are."
        ),
        Table(("file", "round", "size", "SHA-256 of the file", "recipients", "signature"), [_file(event, folder) for event in shown]),
    ]
    if len(shown) < len(run.models):
        blocks.append(Text(f"The last {len(shown)} of {len(run.models)} files."))
    return Section("Files", blocks)


def _file(event: Event, folder: Path) -> tuple[str, ...]:
    from stfed.sealed.inspect import inspect

    path = _found(Path(event["path"]), folder)
    about = (path.name, str(event["server_round"]))
    try:
        with path.open("rb") as file:
            size_bytes, sha256 = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
        told = inspect(path)
    except OSError as error:
        return (*about, "", f"not there: {error.strerror}", "", "")
    except StfedError as error:
        return (*about, "", f"DAMAGED: {error.message}", "", "")
    signature = told.signature if told.signature in ("valid", "none") else f"WRONG: {told.signature}"
    return (*about, size(size_bytes), sha256, str(sum(told.recipients.values())), signature)


def _found(path: Path, folder: Path) -> Path:
    """A file that was written in the run's folder is looked for there: the folder may have moved since."""
    moved = folder / "models" / path.name
    return moved if moved.exists() and not path.exists() else path


def audit(folder: Path) -> Section:
    """The whole audit log, verified."""
    from stfed.audit import AuditLog

    path = folder / AUDIT
    if not path.exists():
        return Section("Audit log", [Text("There is no audit log in the folder of the run.")])
    try:
        with AuditLog(path, create=False, read_only=True) as log:
            report = log.verify()
    except (StfedError, OSError) as error:
        return Section("Audit log", [Text(f"THE LOG DOES NOT VERIFY: {error}")])
    facts = {
        "log": (report.origin, "its name, which its checkpoints carry"),
        "entries": (", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items())) or "none", "what happened, and how often"),
        "root": (report.root.hex(), "a fingerprint of all entries: whoever keeps it sees any later change"),
        "signed": (
            f"{report.covered} of {report.size} entries",
            "covered by a checkpoint; the others can be changed by whoever keeps the log",
        ),
    }
    told = "Every entry was read and fits to the tree of hashes. Whoever has the log can check that again: stfed audit verify audit.db"
    return Section("Audit log", [Text(told), facts_of(facts)])


def environment() -> Section:
    """Versions on the machine that the report was written on."""
    rows = [(name, found) for name in _PACKAGES if (found := _version(name)) is not None]
    rows += [("Python", platform.python_version()), ("system", f"{platform.system()} {platform.release()}, {platform.machine()}")]
    text = Text("Versions on the machine where this report was made, which need not be the one of the run.")
    return Section("Environment", [text, Facts([Fact(name, value) for name, value in rows])])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
