"""Starting and ending Flower's commands: each in a process group of its own, with a log of its own, so that nothing outlives its run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stfed.errors import LocalError

_STOP_TIMEOUT_S = 10.0

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUNBUFFERED": "1",
}
"""Environment of Flower's commands: no calls to the outside, the packages that are here, logs line by line."""


def tool(name: str) -> str:
    """A command of the environment that this Python runs in."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise LocalError(f"Flower's command {name} is not in this environment", hint="pip install 'stfed[simulation]'")
    return found


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process' environment for a Flower command with a home of its own; its tools are found beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, **QUIET, "PATH": path, "FLWR_HOME": str(home), **more}


def start(command: list[str], log: Path, *, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a command in a session of its own; what it says goes to the end of its log."""
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own tools, no shell
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and whatever it started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    process.poll()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and whatever it started as a power failure would: no chance to say goodbye."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_TIMEOUT_S)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def free_port() -> int:
    """A port of this machine that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
