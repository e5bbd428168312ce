"""`stfed keyserver`: runs the key service, or sets one up."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note
from stfed.cli.options import add_json, print_json

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.keys.signing import SigningKey


def register(commands: Commands) -> None:
    """Adds the command: by itself it runs the service; `init` makes what that needs."""
    parser = commands.add_parser(
        "keyserver",
        help="run the service that releases file keys under policy",
        description="Runs the key service: it keeps a key that files are sealed to, and gives a file's key to those whom the file's policy "
        "allows, each time with an entry in its audit log. Says on stderr when it is ready; SIGTERM or Ctrl+C stops it.",
        reads="its configuration, and the keys, roster and certificate that it names",
        writes="its audit log, before it answers",
        never="sees a file's content, or gives a key to somebody whom the file's policy does not name",
        examples=(
            ("stfed keyserver init keys --name keys.example.org", "make what it needs"),
            ("stfed keyserver --config keys/keyserver.toml", "run it"),
        ),
    )
    parser.add_argument("--config", type=Path, default=Path("keyserver.toml"), metavar="FILE", help="configuration (./keyserver.toml)")
    parser.set_defaults(handler=_serve)
    parts = parser.add_subparsers(title="commands", metavar="COMMAND")

    init = parts.add_parser(
        "init",
        help="make a folder with configuration, keys, an empty roster and a TLS certificate",
        description="Fills FOLDER with all that a key service needs. Prints the public keys: files are sealed to the first, readers pin "
        "the second.",
        writes="keyserver.toml, secret keys (mode 0600), an empty roster and a self-signed TLS certificate, into FOLDER",
        never="overwrites a file, or starts the service",
        examples=(
            ("stfed keyserver init keys --name keys.example.org --host 0.0.0.0", "for readers on other machines"),
            ("stfed keyserver init keys --json", "for this machine, to try it out; for a script"),
        ),
    )
    init.add_argument("folder", type=Path, metavar="FOLDER", help="made if there is none; nothing in it is overwritten")
    init.add_argument(
        "--name", action="append", dest="names", metavar="HOST", help="name or address in the readers' URLs; repeat (localhost, 127.0.0.1)"
    )
    init.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1; 0.0.0.0 for all)")
    init.add_argument("--port", type=int, default=8443, metavar="N", help="port to listen on (8443)")
    add_json(init)
    init.set_defaults(handler=_init)


def _serve(arguments: argparse.Namespace) -> int:
    from stfed.keyserver.config import Config
    from stfed.keyserver.server import serve

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(Config.read(arguments.config), _ready)
    print("key service stopped", file=sys.stderr)
    return 0


def _ready(host: str, port: int, signer: SigningKey) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"key service {signer.public.fingerprint} ready on https://{shown}:{port}", file=sys.stderr, flush=True)


def _init(arguments: argparse.Namespace) -> int:
    from stfed.errors import LocalError
    from stfed.keyserver.certificate import LIFE
    from stfed.keyserver.setup import CERTIFICATE, ROSTER, set_up

    if not 0 <= arguments.port <= 65535:
        raise LocalError(f"there is no port {arguments.port}")
    names = arguments.names or ["localhost", "127.0.0.1"]
    made = set_up(arguments.folder, names, host=arguments.host, port=arguments.port, now=datetime.now(UTC))
    roster, certificate = arguments.folder / ROSTER, arguments.folder / CERTIFICATE
    if arguments.json:
        keys = {"recipient": str(made.recipient), "service_key": str(made.verifier)}
        print_json({"config": str(made.config), "roster": str(roster), "certificate": str(certificate), **keys})
    else:
        print(made.recipient)
        print(made.verifier)
    note(f"next: stfed roster add {roster} ... for those who seal files (--role owner) and those who may ask (--role recipient)")
    note(f"give them these two keys and {certificate}, which is valid for {LIFE.days} days")
    note(f"then: stfed keyserver --config {made.config}")
    return 0
