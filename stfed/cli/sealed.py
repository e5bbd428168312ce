"""`stfed keygen | seal | open | inspect`: encrypted tensor files and the keys for them."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.sealed.stream import Progress

_QUIET_S = 1.0
"""Nobody needs a progress bar for what is done before they have read it."""


def register(commands: Commands) -> None:
    """Adds the four commands."""
    keygen = commands.add_parser(
        "keygen",
        help="make a key pair for sealed files",
        description="Writes KEY, the secret, for your eyes only, and KEY.pub, to give to those who seal files for you. Prints the public "
        "key's fingerprint, to be compared over another channel.",
        allow_abbrev=False,
    )
    keygen.add_argument("--out", type=Path, required=True, metavar="KEY", help="where to write the secret key; KEY.pub goes beside it")
    keygen.add_argument("--kind", choices=("hybrid", "x25519"), default="hybrid", help="hybrid is post-quantum (default), x25519 is short")
    keygen.set_defaults(handler=_keygen)

    seal = commands.add_parser(
        "seal",
        help="encrypt a safetensors file to its recipients",
        description="Encrypts a plain safetensors file so that only the recipients can open it.",
        allow_abbrev=False,
    )
    seal.add_argument("file", type=Path, metavar="FILE", help="a plain safetensors file; it stays as it is")
    seal.add_argument(
        "--recipient",
        action="append",
        required=True,
        dest="recipients",
        metavar="KEY.pub",
        help="a public key file or age1... string; repeat",
    )
    seal.add_argument("--out", type=Path, required=True, metavar="SEALED", help="where to write the sealed file")
    seal.set_defaults(handler=_seal)

    open_ = commands.add_parser(
        "open",
        help="decrypt a sealed file",
        description="Checks and decrypts a sealed file; what comes out is, byte for byte, the safetensors file that went in.",
        allow_abbrev=False,
    )
    open_.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    open_.add_argument(
        "--identity",
        action="append",
        required=True,
        type=Path,
        dest="identities",
        metavar="KEY",
        help="a secret key file; repeat to try several",
    )
    open_.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the plain file")
    open_.set_defaults(handler=_open)

    inspect = commands.add_parser(
        "inspect",
        help="show what a sealed file tells without a key",
        description="Shows sizes, recipients and what the writer states. Nothing of it is authenticated before somebody opens the file.",
        allow_abbrev=False,
    )
    inspect.add_argument("file", type=Path, metavar="SEALED", help="a sealed file")
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    inspect.set_defaults(handler=_inspect)


def _keygen(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from stfed.sealed import generate_keypair, write_keypair

    identity, recipient = generate_keypair(arguments.kind)
    public = write_keypair(arguments.out, identity, created=datetime.now(UTC))
    print(recipient.fingerprint)
    print(f"keep {arguments.out} to yourself, give {public} to those who seal files for you", file=sys.stderr)
    return 0


def _seal(arguments: argparse.Namespace) -> int:
    from stfed.sealed import seal_file

    with _progress(arguments.file, "sealing") as progress:
        seal_file(arguments.file, arguments.out, recipients=arguments.recipients, progress=progress)
    return 0


def _open(arguments: argparse.Namespace) -> int:
    from stfed.sealed import open_file

    with _progress(arguments.file, "opening") as progress:
        open_file(arguments.file, arguments.out, identity=arguments.identities, progress=progress)
    print(f"note: {arguments.file} is not signed: it is whole and unchanged, but nothing proves who sealed it", file=sys.stderr)
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from stfed.sealed import inspect

    info = inspect(arguments.file)
    if arguments.json:
        json.dump(info.to_dict(), sys.stdout, indent=2, allow_nan=False)
        print()
    else:
        print(info.table())
    return 0


@contextmanager
def _progress(path: Path, verb: str) -> Iterator[Progress | None]:
    """Something to report finished bytes to, from any thread: a bar on stderr, if that is a terminal and the work takes over a second."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bar = Progress(TextColumn(verb), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(verb, total=path.stat().st_size if path.is_file() else None)
    began, lock = time.monotonic(), threading.Lock()

    def advance(size_bytes: int) -> None:
        bar.update(task, advance=size_bytes)
        with lock:
            if not bar.live.is_started and time.monotonic() - began > _QUIET_S:
                bar.start()

    try:
        yield advance
    finally:
        bar.stop()
