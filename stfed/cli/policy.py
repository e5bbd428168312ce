"""`stfed policy`: what a party agrees to. One TOML file that the party's owner writes, and that no coordinator can change."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.cli.options import print_json
from stfed.cli.passphrases import add_passphrase_file
from stfed.cli.policyview import facts, lines, warnings
from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.encoding.tensors import TensorSpec
    from stfed.secagg.params import Mode
    from stfed.secagg.policy import Policy

MODES = ("malicious", "semi-honest")


def register(commands: Commands) -> None:
    """Adds `policy` with its commands."""
    policy = commands.add_parser(
        "policy",
        help="write and check what a party agrees to",
        description="Writes and checks a party's policy: a TOML file with what a coordinator may ask for, read at every message.",
        epilog="example: stfed policy init policy.toml --model model.safetensors",
        allow_abbrev=False,
    )
    verbs = policy.add_subparsers(title="commands", metavar="COMMAND", required=True)
    init = verbs.add_parser(
        "init",
        help="write a policy with the defaults, and what each setting means",
        description="Writes a policy with the defaults, and what each setting means. Edit it, and check it.",
        epilog="example: stfed policy init policy.toml --model model.safetensors",
        allow_abbrev=False,
    )
    init.add_argument("file", type=Path, metavar="FILE", help="where to write it; never overwritten")
    init.add_argument("--mode", choices=MODES, default=MODES[0], help="what the coordinator is trusted with (default malicious)")
    init.add_argument("--model", type=Path, metavar="MODEL", help="allow only models with the tensors of this plain safetensors file")
    init.set_defaults(handler=_init)
    check = verbs.add_parser(
        "check",
        help="say in words what a policy means; with a roster and an identity, whether this party is ready",
        description="Says in words what a policy means. With a roster and an identity it checks everything that a party needs, as the "
        "party itself does at every message, and prints how its node is started.",
        epilog="example: stfed policy check policy.toml --roster roster.toml --identity party.key",
        allow_abbrev=False,
    )
    check.add_argument("file", type=Path, metavar="FILE", help="the policy")
    check.add_argument("--roster", type=Path, metavar="FILE", help="count the parties of this roster")
    check.add_argument("--identity", type=Path, metavar="KEY", help="the party's secret key file, to be looked up in the roster")
    add_passphrase_file(check)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(handler=_check, wrong=check.error)


def _init(arguments: argparse.Namespace) -> int:
    from stfed.files import check_private, create_file, sync_folder
    from stfed.secagg.params import Mode
    from stfed.secagg.policy import Policy
    from stfed.secagg.policy_toml import policy_toml

    tensors = None if arguments.model is None else _tensors(arguments.model)
    text = policy_toml(Policy(mode=Mode(arguments.mode), tensors=tensors))
    check_private(arguments.file)
    create_file(arguments.file, text.encode(), 0o644)
    sync_folder(arguments.file.parent)
    note(f"look through {arguments.file}, change what does not fit, and see what it means: stfed policy check {arguments.file}")
    return 0


def _tensors(path: Path) -> tuple[TensorSpec, ...]:
    """What is in a model file; its header is enough."""
    from stfed.encoding.tensors import TensorSpec
    from stfed.errors import about
    from stfed.files import File, opened, read_bytes
    from stfed.sealed.inner import parse

    with opened(path) as descriptor, about(path):
        file = File(descriptor)
        header = parse(lambda start, stop: read_bytes(file, start, stop), file.size_bytes)
    try:
        return tuple(TensorSpec(name, info.dtype.name, info.shape) for name, info in header.tensors.items())
    except LocalError as error:
        raise LocalError(f"{path}: {error.message}, and cannot be averaged", hint=error.hint) from None


def _check(arguments: argparse.Namespace) -> int:
    from stfed.secagg.policy_toml import read_policy

    if arguments.identity and not arguments.roster:
        arguments.wrong("--identity needs --roster, to be looked up in")
    if arguments.passphrase_file and not arguments.identity:
        arguments.wrong("--passphrase-file is for --identity")
    if arguments.identity:
        policy, members, ready = _ready(arguments)
    else:
        policy, members, ready = read_policy(arguments.file, mode=_mode(arguments.roster)), _size(arguments.roster), {}
    found = facts(policy, members) | ready
    if arguments.json:
        print_json(found | {"notes": list(warnings(policy))})
        return 0
    for line in lines(arguments.file, found):
        print(line)
    for text in warnings(policy):
        note(text)
    return 0


def _mode(roster: Path | None) -> Mode:
    """What a party with a roster is in where its policy names no mode; see `stfed.flower.party_config`."""
    from stfed.secagg.params import Mode

    return Mode.SEMI_HONEST if roster is None else Mode.MALICIOUS


def _size(roster: Path | None) -> int | None:
    from stfed.keys import Roster
    from stfed.secagg.roster import PartyRoster

    return None if roster is None else len(PartyRoster(Roster.read(roster)))


def _ready(arguments: argparse.Namespace) -> tuple[Policy, int | None, dict[str, Any]]:
    """Everything that the party reads at a message, read in the same way; and how its node is told where to find it."""
    from flwr.app import Context, RecordDict

    from stfed.flower.party_config import IDENTITY, PASSPHRASE_FILE, POLICY, ROSTER, party_config

    options = {
        "--policy": (POLICY, arguments.file),
        "--identity": (IDENTITY, arguments.identity),
        "--passphrase-file": (PASSPHRASE_FILE, arguments.passphrase_file),
        "--roster": (ROSTER, arguments.roster),
    }
    given = {option: (key, str(path.absolute())) for option, (key, path) in options.items() if path is not None}
    config = dict(given.values())
    found = party_config(Context(0, 0, dict(config), RecordDict(), {}))
    words = [word for option, (_, path) in given.items() for word in (option, path)]
    members = None if found.roster is None else len(found.roster)
    return found.policy, members, {"node_config": config, "command": shlex.join(["stfed", "supernode", *words])}
