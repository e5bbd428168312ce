"""Runs an app on a SuperLink that is somewhere already, through Flower's own command line and its own list of connections.

A name stands for an address and a certificate in Flower's configuration (`[superlink.NAME]` in ~/.flwr/config.toml, or under FLWR_HOME).
Everything here is a call of `flwr`, so what that does and refuses, this does and refuses.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stfed.errors import LocalError, StfedError, shown
from stfed.flower import processes
from stfed.flower.runtime import RunConfigValue, to_toml

_UNREACHABLE = "Connection to the SuperLink is unavailable"
_UNKNOWN = "not found in the Flower configuration file"
_COMPLETED = "finished:completed"
_FINISHED = "finished:"
_NAMES = "`flwr config list` says which there are"


def connections() -> list[str]:
    """The names in Flower's configuration."""
    return [str(name) for name in _asked("config", "list").get("superlink", ())]


class SuperLinkRun:
    """A run on a named SuperLink, whose log is streamed for as long as the `with` block lasts. The run itself goes on without it.

    Args:
        app: folder of the Flower app.
        name: of the connection.
        run_config: run-config values, which the app's pyproject.toml must know.

    Attributes:
        run_id: Flower's.

    Raises:
        LocalError: a value is none that Flower hands to an app, there is no such connection, its SuperLink cannot be reached, or it does
            not take the app; nothing runs then.
    """

    def __init__(self, app: Path, name: str, run_config: Mapping[str, RunConfigValue]) -> None:
        if name.startswith("-"):  # flwr would read it as an option
            raise LocalError(f"{shown(name)} is no name of a SuperLink", hint=_NAMES)
        toml = to_toml(run_config)
        self.name = name
        self._stream: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="stfed-run-")
        folder = Path(self._folder.name)
        self._log, config = folder / "log", folder / "run.toml"
        config.write_bytes(toml.encode())
        try:
            answer = _asked("run", str(app.resolve()), name, "--run-config", str(config))
            if not answer.get("run-id"):
                raise _refused(app, name, str(answer.get("error-message", "")))
        except LocalError:
            self._folder.cleanup()
            raise
        self.run_id: str = str(answer["run-id"])

    def __enter__(self) -> Self:
        command = [processes.tool("flwr"), "log", self.run_id, self.name, "--stream"]
        self._stream = processes.start(command, self._log, folder=Path(), environment=_environment())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stream is not None:
            processes.end(self._stream)
        self._folder.cleanup()

    def finished(self) -> bool:
        """Whether the stream of its log has ended, as it does with the run."""
        return self._stream is None or self._stream.poll() is not None

    def new_lines(self, offset: int, *, last: bool = False) -> tuple[list[str], int]:
        """Whole lines of the log from an offset on, and where the next one begins; at the last look also a line without its end."""
        with self._log.open("rb") as log:
            log.seek(offset)
            data = log.read()
        whole = data if last else data[: data.rfind(b"\n") + 1]
        return whole.decode(errors="replace").splitlines(), offset + len(whole)

    def check(self) -> None:
        """Returns if the run came to its end.

        Raises:
            StfedError: it failed, was stopped, or still goes on although its log has ended.
        """
        found: dict[str, Any] = next(iter(_asked("list", self.name, "--run-id", self.run_id).get("runs", ())), {})
        status = str(found.get("status", "unknown"))
        if status == _COMPLETED:
            return
        hint = f"flwr log {self.run_id} {self.name}"
        if not status.startswith(_FINISHED):
            raise StfedError(f"the log of run {self.run_id} ended while the run is {status}", hint=f"it may go on: {hint}")
        details = str(found.get("status-details") or "")
        raise StfedError(f"run {self.run_id} ended as {status}" + (f": {details}" if details else ""), hint=hint)


def _refused(app: Path, name: str, said: str) -> LocalError:
    """What to do about what `flwr run` said."""
    words = " ".join(line for line in said.splitlines() if line.strip() and not line.startswith("Using SuperLink:"))
    if _UNKNOWN in words:
        hint = f"it knows {', '.join(connections()) or 'none'}; `flwr config list` says where it is"
        return LocalError(f"Flower's configuration knows no SuperLink {name!r}", hint=hint)
    if _UNREACHABLE in words:
        hint = f"see `address` of [superlink.{name}] in Flower's configuration, and `stfed doctor --superlink HOST:PORT`"
        return LocalError(f"the SuperLink {name!r} cannot be reached", hint=hint)
    return LocalError(f"the SuperLink {name!r} was not given the app {app}: {words or 'no reason is known'}", hint=f"flwr run {app} {name}")


def _asked(*arguments: str) -> dict[str, Any]:
    """What a command of `flwr` answers as JSON.

    Raises:
        LocalError: it does not.
    """
    command = [processes.tool("flwr"), *arguments, "--format", "json"]
    done = subprocess.run(  # noqa: S603 - our own tool, no shell
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", env=_environment(), check=False
    )
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise LocalError(f"flwr {arguments[0]} does not answer in JSON:\n{said}", hint="stfed works with flwr 1.41") from None
    return answer if isinstance(answer, dict) else {}


def _environment() -> dict[str, str]:
    """This process' own, so that Flower's configuration is the one that people use; quiet where they have not said otherwise."""
    return {**processes.QUIET, **os.environ}
