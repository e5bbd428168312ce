"""Whether what a party sends travels under TLS: a check in malicious mode, on both ends, before anything is sent.

A ClientApp holds no connection to the coordinator. Its SuperNode does, and what that one was told stands in its command line, nowhere
else: neither the message, nor the Context, nor the environment has it. The connection that the ClientApp itself has is the one to its own
SuperNode, on the same machine, and always started with `--insecure`; it says nothing about the network.

So a party asks two questions, of its own machine only:

1. Who handed this message over? The call stack knows. Flower's simulation and `stfed.testing` call the ClientApp in the process that runs
   the whole federation: there is no network and nobody to hide from. A `flwr-clientapp` process belongs to a deployment.
2. In a deployment: was the SuperNode, which is among this process' ancestors, started with `--insecure`? Without it, Flower 1.41 speaks
   HTTPS only and checks the certificate, against `--root-certificates` or the system's.

Everything else (a ClientApp in a container of its own with `--isolation process`, another launcher, a system without `/proc` and `ps`)
is a channel that cannot be seen, which is refused like an insecure one. TLS protects against people on the way; that the coordinator
learns nothing does not rest on it.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from stfed.errors import LocalError
from stfed.flower.courier import SimulatedTime

if TYPE_CHECKING:
    from flwr.serverapp import Grid

log: logging.Logger = logging.getLogger("stfed")

_IN_DEPLOYMENT = "flwr.supernode.runtime.run_clientapp"
_IN_PROCESS = ("flwr.simulation.ray_transport.ray_actor", "stfed.testing.node")
_SUPERNODE = "flower-supernode"
_ANCESTORS = 16
"""A SuperNode is the grandparent of its ClientApps; more than this is no deployment of Flower's."""
_ALLOW = "set stfed-allow-insecure=true in this node's own --node-config to take part all the same"


class ChannelError(LocalError):
    """Messages would travel where others can read or change them, or nobody can say that they would not."""


def check_channel(*, allow_insecure: bool) -> None:
    """Returns if the messages of this party travel under TLS, or do not travel at all. For a mod, called while it handles a message.

    Args:
        allow_insecure: the party's own decision, never the coordinator's: go on over an insecure or unknown channel, with a warning.

    Raises:
        ChannelError: the SuperNode was started without TLS, or it cannot be found out.
    """
    callers = _callers()
    if _IN_DEPLOYMENT not in callers:
        if callers.isdisjoint(_IN_PROCESS):
            _report(
                "malicious mode needs TLS, and this ClientApp was called neither by a SuperNode nor by a simulation, so that its channel "
                "cannot be checked",
                "run it with flower-supernode; " + _ALLOW,
                allow_insecure,
            )
        return
    supernode = next((command for command in _ancestors(os.getppid()) if _is_supernode(command)), None)
    if supernode is None:
        _report(
            "malicious mode needs TLS between SuperNode and SuperLink, and the SuperNode of this ClientApp is not among the processes that "
            "started it, so that its channel cannot be checked",
            "start flower-supernode with --isolation subprocess, the default; if you know that your SuperNode uses TLS, " + _ALLOW,
            allow_insecure,
        )
    elif any(map(_says_insecure, supernode)):
        _report(
            "malicious mode needs TLS, and this SuperNode was started with --insecure: what it sends can be read and changed on the way",
            "start flower-supernode with --root-certificates CA.crt in the place of --insecure; or " + _ALLOW,
            allow_insecure,
        )


def check_coordinator_channel(grid: Grid, *, allow_insecure: bool) -> None:
    """The same on the coordinator's side. Parties, ServerApp and `flwr run` reach a SuperLink through one port, with or without TLS.

    Args:
        grid: Flower's, as the ServerApp got it.
        allow_insecure: go on over an insecure or unknown channel, with a warning.

    Raises:
        ChannelError: the SuperLink runs without TLS, or it cannot be found out.
    """
    # Loaded here: it takes half a second, and a party, which starts a process for every message, has no use for it.
    from flwr.superlink.grid import HttpGrid, InMemoryGrid

    if isinstance(grid, InMemoryGrid | SimulatedTime):
        return
    insecure = vars(grid).get("_insecure") if isinstance(grid, HttpGrid) else None
    if not isinstance(insecure, bool):
        _report(
            f"malicious mode needs TLS, and a {type(grid).__name__} does not tell whether it has it",
            "hand over the grid that the ServerApp got; or pass allow_insecure=True",
            allow_insecure,
        )
    elif insecure:
        _report(
            "malicious mode needs TLS, and this SuperLink was started with --insecure: what the parties send can be read and changed on "
            "the way",
            "start flower-superlink with --ssl-ca-certfile, --ssl-certfile and --ssl-keyfile; or pass allow_insecure=True",
            allow_insecure,
        )


def _report(message: str, hint: str, allow_insecure: bool) -> None:
    if not allow_insecure:
        raise ChannelError(message, hint=hint)
    log.warning("%s; allowed by this side's own configuration", message)


def _callers() -> set[str]:
    """The modules on the call stack."""
    names, frame = set(), sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        names.add(str(frame.f_globals.get("__name__")))
    return names


def _is_supernode(command: Sequence[str]) -> bool:
    """Whether a process runs `flower-supernode`: as itself, or as a script given to an interpreter, not as an option's value."""
    return any(PurePath(part).name == _SUPERNODE for part in takewhile(lambda part: not part.startswith("--"), command))


def _says_insecure(argument: str) -> bool:
    """Whether Flower's argument parser takes it for `--insecure`: any abbreviation counts."""
    return argument.startswith("--i") and "--insecure".startswith(argument)


def _ancestors(process: int) -> Iterator[list[str]]:
    """Command lines of a process, its parent, and so on; stops where the system says no more."""
    for _ in range(_ANCESTORS):
        found = _look_up(process)
        if found is None:
            return
        process, command = found
        yield command


def _look_up(process: int) -> tuple[int, list[str]] | None:
    """Parent and command line of a process; None if there is none, or this system does not tell."""
    return _from_proc(process) if Path("/proc/self/stat").exists() else _from_ps(process)


def _from_proc(process: int) -> tuple[int, list[str]] | None:
    """Linux: exact arguments."""
    try:
        # The second field is the name in brackets and may itself hold spaces and brackets.
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        command = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return None
    return int(fields[1]), command.rstrip("\0").split("\0")


def _from_ps(process: int) -> tuple[int, list[str]] | None:
    """POSIX: arguments with spaces come apart, so that an option quoted within another one counts as given: the strict side."""
    ps = shutil.which("ps", path="/bin:/usr/bin")
    if ps is None or process < 1:
        return None
    command = [ps, "-ww", "-o", "ppid=", "-o", "args=", "-p", str(process)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)  # noqa: S603 - no shell
    parent, *arguments = result.stdout.split() or [""]
    return (int(parent), arguments) if result.returncode == 0 and parent.isdigit() else None
