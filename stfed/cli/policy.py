"""`stfed policy`: what a party agrees to. One TOML file that the party's owner writes, and that no coordinator can change."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.cli.options import add_json, print_json
from stfed.cli.party import add_party, node_config, read_party, start_command
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
        description="Writes and checks a party's policy: a TOML file with what a coordinator may ask for, read at every message. Only its "
        "owner and root may be able to write to it, and no coordinator ever sees it.",
        examples=(
            ("stfed policy init policy.toml --model model.safetensors", "start with the defaults"),
            ("stfed policy check policy.toml --roster roster.toml", "what it means for the parties on a roster"),
        ),
    )
    verbs = policy.add_subparsers(title="commands", metavar="COMMAND", required=True)
    init = verbs.add_parser(
        "init",
        help="write a policy with the defaults, and what each setting means",
        description="Writes a policy with the defaults, and what each setting means. Edit it, and check it.",
        reads="the header of MODEL",
        writes="FILE, which only you can change",
        never="overwrites a file",
        examples=(
            ("stfed policy init policy.toml --model model.safetensors", "only for models with the tensors of this one"),
            ("stfed policy init policy.toml --mode semi-honest", "for a coordinator that is trusted to follow the protocol"),
        ),
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
        reads="the policy, the roster and the party's secret key file",
        never="changes a file, connects to anything, or starts a node",
        examples=(
            ("stfed policy check policy.toml", "in words"),
            (
                "stfed policy check policy.toml --roster roster.toml --identity party.key",
                "is this party ready, and how is its node started?",
            ),
        ),
    )
    check.add_argument("policy", type=Path, metavar="FILE", help="the policy")
    add_party(check, policy=False, state=False)
    add_json(check)
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
        policy, members, ready = read_policy(arguments.policy, mode=_mode(arguments.roster)), _size(arguments.roster), {}
    found = facts(policy, members) | ready
    if arguments.json:
        print_json(found | {"notes": list(warnings(policy))})
        return 0
    for line in lines(arguments.policy, found):
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
    found = read_party(arguments)
    members = None if found.roster is None else len(found.roster)
    return found.policy, members, {"node_config": node_config(arguments), "command": start_command(arguments)}
