"""Whether a node is fit to start: everything that it would otherwise find out at the first message, or never."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from ipaddress import ip_address
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.common.constant import ISOLATION_MODE_SUBPROCESS
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

from stfed.errors import LocalError, shown
from stfed.flower import pinned_app
from stfed.flower.channel import ChannelError
from stfed.flower.party_config import (
    ALLOW_INSECURE,
    CKKS_CONTEXT,
    CKKS_FINGERPRINT,
    IDENTITY,
    PASSPHRASE_FILE,
    POLICY,
    ROSTER,
    PartyConfig,
)
from stfed.flower.store import STATE_DIR, SqliteStore, state_dir
from stfed.secagg.params import Mode

KEYS = (POLICY, IDENTITY, PASSPHRASE_FILE, ROSTER, STATE_DIR, ALLOW_INSECURE, CKKS_CONTEXT, CKKS_FINGERPRINT)
"""Of the node's config, what is ours."""

_PREFIX = "stfed-"
_FILES = ("root_certificates", "auth_supernode_private_key", "trusted_entities")
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is fit to start.

    Attributes:
        app: MODULE:ATTRIBUTE of its own ClientApp.
        file: where the module is.
        package: what was installed with it, "NAME VERSION"; None if it is no part of an installed package.
        party: what it agrees to and who it is.
        state: folder of the party's state.
        superlink: HOST:PORT.
        tls: whether it speaks TLS to it.
    """

    app: str
    file: Path
    package: str | None
    party: PartyConfig
    state: Path
    superlink: str
    tls: bool


def check_node(app: str, node_config: Mapping[str, Value], arguments: Sequence[str]) -> Node:
    """Everything that can be checked without a SuperLink, in the way that a message would find it.

    Args:
        app: MODULE:ATTRIBUTE of the owner's ClientApp, which is imported here.
        node_config: of this node.
        arguments: for `flower-supernode`.

    Raises:
        LocalError: something is wrong; the message says what, the hint what to do.
        SystemExit: Flower does not know one of its arguments.
    """
    pinned_app.check_flower()
    options = _options(arguments)
    _check_keys(node_config)
    _, mod, file = pinned_app.load(app)
    context = Context(0, 0, dict(node_config), RecordDict(), {})
    party = mod.config_of(context)
    if party.policy.mode is Mode.MALICIOUS and options.insecure and not party.allow_insecure:
        raise ChannelError(
            "malicious mode needs TLS, and flower-supernode is to be started with --insecure: what it sends could be read and changed",
            hint=f"give it --root-certificates CA.crt instead; to try things out, put {ALLOW_INSECURE}=true into the node's config",
        )
    store = mod.store_of(context, party)
    with store.transaction(0):
        state = store.path.parent if isinstance(store, SqliteStore) else state_dir(dict(node_config))
    return Node(app, file, _package(app), party, state.absolute(), options.superlink, not options.insecure)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """What Flower's own parser makes of its arguments; those that would let another app in are refused."""
    options = _parse_args_run_supernode().parse_args(list(arguments))
    if options.node_config is not None:
        raise LocalError("the node's config is not Flower's business alone", hint="write --node-config before the --, not after it")
    if options.isolation != ISOLATION_MODE_SUBPROCESS:
        raise LocalError("with --isolation process somebody else starts the ClientApp, and decides which one", hint="leave --isolation out")
    if options.runtime_dependency_install:
        raise LocalError(
            "--allow-runtime-dependency-installation installs what a run asks for, which is code that runs here",
            hint="install what your own ClientApp needs, once, yourself",
        )
    if not _is_loopback(options.host):
        raise LocalError(
            f"--host {shown(options.host)}: only this node's own processes need to reach it, and they are on this machine",
            hint="leave --host out",
        )
    if options.insecure and options.root_certificates:
        raise LocalError("--insecure and --root-certificates contradict each other", hint="leave --insecure out")
    for name in _FILES:
        file = getattr(options, name)
        if file is not None and not Path(file).expanduser().is_file():
            raise LocalError(f"there is no file {file}, which --{name.replace('_', '-')} names")
    return options


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_keys(node_config: Mapping[str, Value]) -> None:
    """A setting with a typing error in its name would be no setting at all."""
    for key in node_config:
        if key.startswith(_PREFIX) and key not in KEYS:
            raise LocalError(f"the node's config has {shown(key)}, which is none of ours", hint=f"there are {', '.join(KEYS)}")


def _package(app: str) -> str | None:
    top = app.partition(":")[0].partition(".")[0]
    names = packages_distributions().get(top, [])
    return ", ".join(f"{name} {version(name)}" for name in sorted(set(names))) or None
