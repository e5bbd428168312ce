"""`stfed keyserver`: runs the key service, or sets one up."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
        epilog="example: stfed keyserver init keys --name keys.example.org; stfed keyserver --config keys/keyserver.toml",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, default=Path("keyserver.toml"), metavar="FILE", help="configuration (./keyserver.toml)")
    parser.set_defaults(handler=_serve)
    parts = parser.add_subparsers(title="parts", metavar="PART")

    init = parts.add_parser(
        "init",
        help="make a folder with configuration, keys, an empty roster and a TLS certificate",
        description="Fills FOLDER with all that a key service needs. Prints the public keys: files are sealed to the first, readers pin "
        "the second.",
        allow_abbrev=False,
    )
    init.add_argument("folder", type=Path, metavar="FOLDER", help="made if there is none; nothing in it is overwritten")
    init.add_argument(
        "--name", action="append", dest="names", metavar="HOST", help="name or address in the readers' URLs; repeat (localhost, 127.0.0.1)"
    )
    init.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1; 0.0.0.0 for all)")
    init.add_argument("--port", type=int, default=8443, help="port to listen on (8443)")
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
    print(made.recipient)
    print(made.verifier)
    roster, certificate = arguments.folder / ROSTER, arguments.folder / CERTIFICATE
    print(
        f"next: stfed roster add {roster} ... for those who seal files (--role owner) and those who may ask (--role recipient)",
        file=sys.stderr,
    )
    print(f"      give them the two keys above and {certificate}, which is valid for {LIFE.days} days", file=sys.stderr)
    print(f"      stfed keyserver --config {made.config}", file=sys.stderr)
    return 0
