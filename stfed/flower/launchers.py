"""Starting `flower-supernode` so that the commands which it starts in turn are ours.

A SuperNode starts `flower-superexec`, and this one what the SuperLink's task calls for (`flwr-clientapp`, `flwr-agentapp`, ...), each by
its bare name: whoever comes first on the PATH is it. So the SuperNode gets a PATH of one private folder with launchers in it: for its own
SuperExec, for the owner's ClientApp, and refusals for the rest. Nothing else is on that PATH, also not Flower's own commands: the search
would go on to them if a launcher could not be started or the folder were gone, and they run the coordinator's code. The ClientApp gets
the owner's PATH back. It is started ahead of the message that it is for (`stfed.flower.spare`).

The SuperNode takes this process' place, so that a signal to it is a signal to Flower's own process. A shell that waits for it to end
removes the folder then, however it ends.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import tomli_w
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType

from stfed.flower import pinned_app, processes, spare
from stfed.flower.pinned_app import PinnedAppError

NODE_CONFIG = "node.toml"
_SUPEREXEC, _SUPERNODE = "flower-superexec", "flower-supernode"
_CLIENTAPP = TASK_TYPE_TO_COMMAND[TaskType.CLIENT_APP]
_TASK_POLL, _TASK_POLL_S = "FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "0.1"
_PROBE_TIMEOUT_S = 600.0
_REMOVE = "trap '' HUP INT QUIT TERM; read -r _; rm -rf -- \"$0\""
"""Waits until nobody holds the other end of its input, the SuperNode being the only one, and removes the folder."""


@contextmanager
def launchers(state: Path, reference: str, file: Path, node_config: Mapping[str, str | int | float | bool]) -> Iterator[Path]:
    """A private folder with the launchers and the node's config, removed when the block ends.

    Args:
        state: the folder of the party's state, which is its owner's alone and not tidied up by the system, as /tmp is.
        reference: the owner's ClientApp, MODULE:ATTRIBUTE.
        file: where its module is.
        node_config: what the SuperNode is to be told about the node.

    Raises:
        PinnedAppError: this system has no shell, or starts nothing in the folder, or finds another app there than the one checked.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="node-", dir=state))
    try:
        python = [sys.executable, "-P"]  # what lies in the folder that somebody stands in is not imported
        _write(folder / _SUPEREXEC, f'exec {shlex.join([*python, processes.tool(_SUPEREXEC)])} "$@"')
        entry = [*python, "-m", pinned_app.__name__, reference, str(file)]
        bare = [sys.executable, "-I", "-S", spare.__file__, str(folder), str(len(entry))]
        _write(
            folder / _CLIENTAPP,
            f"PATH={shlex.quote(os.environ.get('PATH', os.defpath))}\nexport PATH\n"
            f'[ "$1" = {pinned_app.PROBE} ] && exec {shlex.join(entry)} "$@"\n'
            f'exec {shlex.join([*bare, *entry])} "$@"',
        )
        for command in set(TASK_TYPE_TO_COMMAND.values()) - {_CLIENTAPP}:
            _write(folder / command, f"echo 'error: {command} refused: this node runs its own ClientApp only' >&2\nexit 1")
        (folder / NODE_CONFIG).write_text(tomli_w.dumps(node_config))
        _probe(folder / _CLIENTAPP)
        yield folder
    finally:
        shutil.rmtree(folder)


def _write(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)


def _probe(launcher: Path) -> None:
    """The same process that a message will start, up to the point where it would ask for one."""
    try:
        result = subprocess.run(  # noqa: S603 - the launcher that was just written
            [launcher, pinned_app.PROBE], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise PinnedAppError(
            f"nothing can be started in {launcher.parent.parent}: {error.strerror or error}",
            hint="is it on a file system mounted with noexec? name another folder as stfed-state-dir",
        ) from None
    except subprocess.TimeoutExpired:
        raise PinnedAppError(f"the ClientApp is not loaded after {_PROBE_TIMEOUT_S:.0f} seconds") from None
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or [f"it ended with {result.returncode}"]
        raise PinnedAppError(
            f"the ClientApp cannot be loaded in a process of its own: {said[-1].removeprefix('error: ')}",
            hint="it has to be installed, or on PYTHONPATH; the folder that you are in does not count",
        )


def start(folder: Path, arguments: Sequence[str]) -> NoReturn:
    """Turns this process into Flower's SuperNode, with the launchers of `folder`, which goes when it ends.

    Args:
        folder: of `launchers`.
        arguments: for `flower-supernode`, without its node config.

    Raises:
        LocalError: Flower's command is not installed here.
    """
    command = [sys.executable, "-P", processes.tool(_SUPERNODE), *arguments, "--node-config", str(folder / NODE_CONFIG)]
    remover = subprocess.Popen(  # noqa: S603 - no user input but the folder's name, as an argument
        ["/bin/sh", "-c", _REMOVE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.defpath},
        start_new_session=True,
    )
    assert remover.stdin is not None
    os.set_inheritable(remover.stdin.fileno(), True)  # lives on in the SuperNode, which hands it to none of its children
    # How often the SuperExec asks the SuperNode, on this machine, for a message: every second if nobody says otherwise.
    os.execve(command[0], command, {_TASK_POLL: _TASK_POLL_S, **os.environ, "PATH": str(folder)})  # noqa: S606 - no shell is the point
