"""A party's own files on the command line: the same options in every command that takes them, and the one way into Flower's node config."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli.passphrases import add_passphrase_file

if TYPE_CHECKING:
    from stfed.cli.options import Arguments
    from stfed.flower.party_config import PartyConfig

_OPTIONS = {"policy": "--policy", "identity": "--identity", "passphrase_file": "--passphrase-file", "roster": "--roster"}
"""What a node needs, by the name of the parsed argument."""


def add_party(parser: Arguments, *, policy: bool = True, state: bool = True) -> None:
    """Adds `--policy`, `--identity`, `--passphrase-file`, `--roster` and `--state-dir`.

    Args:
        parser: where they go, a group for example.
        policy: False if the command has the policy as its argument, with `policy` as its name.
        state: False if the command does not look at the party's state.
    """
    if policy:
        parser.add_argument("--policy", type=Path, metavar="FILE", help="what this party agrees to (default: the defaults)")
    parser.add_argument("--identity", type=Path, metavar="KEY", help="this party's secret key file, to be looked up in the roster")
    add_passphrase_file(parser)
    parser.add_argument("--roster", type=Path, metavar="FILE", help="who may take part")
    if state:
        parser.add_argument("--state-dir", type=Path, metavar="FOLDER", help="where the party keeps its state (~/.local/state/stfed)")


def node_config(arguments: argparse.Namespace) -> dict[str, str]:
    """What `add_party` asked for, as Flower's node config has it: absolute paths by the keys that the party looks under."""
    from stfed.flower.party_config import IDENTITY, PASSPHRASE_FILE, POLICY, ROSTER
    from stfed.flower.store import STATE_DIR

    keys = {"policy": POLICY, "identity": IDENTITY, "passphrase_file": PASSPHRASE_FILE, "roster": ROSTER, "state_dir": STATE_DIR}
    given = {key: getattr(arguments, name, None) for name, key in keys.items()}
    return {key: str(path.absolute()) for key, path in given.items() if path is not None}


def read_party(arguments: argparse.Namespace) -> PartyConfig:
    """What this party agrees to and who it is, read as it would be read at a message."""
    from flwr.app import Context, RecordDict

    from stfed.flower.party_config import party_config

    return party_config(Context(0, 0, dict(node_config(arguments)), RecordDict(), {}))


def start_command(arguments: argparse.Namespace) -> str:
    """How the node of this party is started, to be completed with its app and its SuperLink."""
    given = {option: getattr(arguments, name) for name, option in _OPTIONS.items()}
    words = [word for option, path in given.items() if path is not None for word in (option, str(path.absolute()))]
    return shlex.join(["stfed", "supernode", *words])
