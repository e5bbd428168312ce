"""`stfed supernode`: Flower's SuperNode, with the ClientApp that this node's owner installed in the place of the coordinator's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.cli.party import add_party, node_config
from stfed.errors import LocalError, shown

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.flower.nodecheck import Node


def register(commands: Commands) -> None:
    """Adds `supernode`."""
    parser = commands.add_parser(
        "supernode",
        help="start Flower's SuperNode with this node's own ClientApp",
        description="Checks that this node is fit to take part, says what it agrees to, and becomes Flower's SuperNode, which then runs "
        "the ClientApp that is installed here, and no code that a run brings along. What follows -- goes to flower-supernode.",
        reads="the party's policy, secret key and roster, now and again at every message",
        writes="the party's state, and launchers beside it while the node runs",
        never="runs code that came from the coordinator, or listens: a node only connects outwards",
        examples=(
            (
                "stfed supernode --app hospital.client_app:app --policy policy.toml --identity party.key --roster roster.toml "
                "-- --superlink fl.example.org:9092 --root-certificates ca.crt --auth-supernode-private-key node.key",
                "a hospital's node, with TLS and a key that the SuperLink knows",
            ),
            ("stfed supernode --app hospital.client_app:app --check -- --superlink 127.0.0.1:9092 --insecure", "only check; start nothing"),
        ),
    )
    parser.add_argument("--app", required=True, metavar="MODULE:APP", help="the ClientApp, from a package that is installed here")
    add_party(parser.add_argument_group("this party"))
    parser.add_argument("--node-config", metavar="TEXT", help="more of the node's config: KEY=VALUE ..., or a TOML file, as in Flower")
    parser.add_argument("--check", action="store_true", help="only check; start nothing")
    parser.add_argument("arguments", nargs="*", metavar="-- OPTION", help="for flower-supernode")
    parser.set_defaults(handler=_supernode)


def _supernode(arguments: argparse.Namespace) -> int:
    from stfed.flower.launchers import launchers, start
    from stfed.flower.nodecheck import check_node

    config = _node_config(arguments)
    node = check_node(arguments.app, config, arguments.arguments)
    said = list(_lines(node))
    with launchers(node.state, node.app, node.file, config) as folder:
        for line in said:
            print(line)
        for text in _notes(node):
            note(text)
        sys.stdout.flush()
        if not arguments.check:
            start(folder, arguments.arguments)
    return 0


def _node_config(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways to give it, as one."""
    import click
    from flwr.common.config import parse_config_args

    try:
        config = parse_config_args(None if arguments.node_config is None else [arguments.node_config])
    except (click.ClickException, ValueError) as error:
        raise LocalError(
            f"the node's config cannot be read: {shown(arguments.node_config)}", hint="write KEY=VALUE ..., with text in double quotes"
        ) from error
    given = node_config(arguments)
    if twice := sorted(given.keys() & config.keys()):
        raise LocalError(f"{twice[0]} is given twice, as an option and in --node-config", hint="give it once")
    return config | given


def _lines(node: Node) -> Iterator[str]:
    """What somebody who starts a node wants to see once, and in its log."""
    from stfed.cli.policyview import facts

    party = node.party
    members = None if party.roster is None else len(party.roster)
    found = facts(party.policy, members)
    yield f"this node runs {node.app}, and no code that a run brings along"
    yield f"  app        {node.package or 'of no installed package'}, {node.file}"
    yield f"  mode       {party.policy.mode.value}"
    smallest = f"{found['smallest_cohort']} parties or more take part, sums are over {found['smallest_sum']} or more"
    yield f"  policy     {smallest}, of which {found['corrupt']} may work with the coordinator"
    if party.identity is not None and party.roster is not None:
        public = party.identity.public_bytes
        yield f"  party      {party.roster.member(public)}, key {party.roster.key(public).fingerprint}"
        yield f"  roster     {members} parties, {party.roster.fingerprint}"
    yield f"  state      {node.state}"
    yield f"  superlink  {node.superlink}, {'TLS' if node.tls else 'without TLS'}"


def _notes(node: Node) -> Iterator[str]:
    if node.package is None:
        yield f"whoever may write to {node.file} decides what this node runs; an installed package has an owner and a version"
    if not node.tls:
        yield "whoever is on the way can read and change what this node sends; that the SuperLink is the right one is not checked"
