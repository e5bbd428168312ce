"""Runs a Flower app on Flower's own simulation runtime, and leaves nothing behind.

`flwr run` by itself starts a SuperLink as a daemon that outlives the run, keeps its files under the user's home and builds an environment
per run from a package index. Here the SuperLink is a child process with a home of its own, uses the environment it was started from, and
ends with the run.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import httpx
import tomli_w

from stfed.errors import LocalError, shown
from stfed.flower import processes
from stfed.flower.processes import tail

__all__ = ["RunConfigValue", "SimulationRuntime", "check_run_config", "tail", "to_toml"]

RunConfigValue: TypeAlias = str | int | float | bool

_CONNECTION = "stfed-simulation"
_START_TIMEOUT_S = 60.0
_LAST_WORDS_S = 6.0
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


class SimulationRuntime:
    """A SuperLink in simulation mode, for as long as the `with` block lasts.

    Args:
        work_dir: a folder for Flower's home, the parties' state and the logs; made if it is not there. It is the working folder of the
            apps too, so what they save under a relative name is found here.
        durable: whether the parties' state lies in `work_dir`, as it lies on the disks of real ones. A simulated party does not survive
            its machine anyway, and hundreds of parties would wait for one disk, so by default it is in memory where there is a file
            system for that.
    """

    def __init__(self, work_dir: Path, *, durable: bool = False) -> None:
        self.work_dir: Path = work_dir.resolve()
        self._durable = durable
        self._memory: tempfile.TemporaryDirectory[str] | None = None
        self.home: Path = self.work_dir / "flwr"
        self.state_dir: Path = self.work_dir / "state"
        self.superlink_log: Path = self.work_dir / "superlink.log"
        self.run_log: Path = self.work_dir / "flower.log"
        self._superlink: subprocess.Popen[bytes] | None = None
        self._run: subprocess.Popen[bytes] | None = None
        self._cut_off = False

    def __enter__(self) -> Self:
        if not self._durable and os.access(_MEMORY, os.W_OK):
            self._memory = tempfile.TemporaryDirectory(prefix="stfed-state-", dir=_MEMORY, ignore_cleanup_errors=True)
            self.state_dir = Path(self._memory.name)
        for folder in (self.home, self.state_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        port = processes.free_port()
        self.home.joinpath("config.toml").write_text(
            f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        )
        command = [processes.tool("flower-superlink"), "--insecure", "--simulation", "--isolation", "subprocess", "--host", "127.0.0.1"]
        self._superlink = self._start([*command, "--port", str(port)], self.superlink_log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _healthy(port):
            if self._superlink.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise LocalError(f"Flower's SuperLink did not start; its log is {self.superlink_log}:\n{tail(self.superlink_log)}")
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()
        if self._memory is not None:
            # Where a run was cut off, its parties end some seconds after the SuperLink, and may write once more meanwhile.
            until = time.monotonic() + (_LAST_WORDS_S if self._cut_off else 0.0)
            self._memory.cleanup()
            while time.monotonic() < until:
                time.sleep(0.2)
                shutil.rmtree(self.state_dir, ignore_errors=True)
        if kind is None:
            shutil.rmtree(self.home, ignore_errors=True)
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def start_run(
        self, app: Path, run_config: Mapping[str, RunConfigValue], num_supernodes: int, *, parties_at_once: int | None = None
    ) -> None:
        """Starts `flwr run` on an app.

        Args:
            app: folder with the app's pyproject.toml.
            run_config: run-config values, which the app's pyproject.toml must know.
            num_supernodes: simulated parties.
            parties_at_once: how many of them work at the same time, each in a process that Ray keeps; None for one a processor. Flower lets
                at most four more than there are processors.
        """
        config = self.work_dir / "run.toml"
        config.write_bytes(to_toml(run_config).encode())
        command = [processes.tool("flwr"), "run", str(app.resolve()), _CONNECTION, "--stream", "--run-config", str(config)]
        command += ["--federation-config", f"num-supernodes={num_supernodes} client-resources-num-cpus=1{_processors(parties_at_once)}"]
        self._run = self._start(command, self.run_log)

    def finished(self) -> bool:
        """Whether `flwr run` has ended."""
        return self._run is None or self._run.poll() is not None

    def _start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        environment = processes.environment(self.home, STFED_STATE_DIR=str(self.state_dir))
        return processes.start(command, log, folder=self.work_dir, environment=environment)

    def _stop(self) -> None:
        self._cut_off = not self.finished()
        for process in (self._run, self._superlink):
            if process is not None:
                processes.end(process)


def to_toml(run_config: Mapping[str, RunConfigValue]) -> str:
    """A run file; what TOML reads from it are the same keys and values.

    Raises:
        LocalError: as `check_run_config`.
    """
    check_run_config(run_config)
    return tomli_w.dumps(run_config)


def check_run_config(run_config: Mapping[str, object]) -> None:
    """Returns if every value is one that Flower hands to an app: text, a finite number, true or false.

    Raises:
        LocalError: one is not; it names the key.
    """
    for key, value in run_config.items():
        if not isinstance(value, str | int | float):
            wrong = f"is of the kind {type(value).__name__}"
        elif isinstance(value, float) and not math.isfinite(value):
            wrong = f"is {value}"
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:  # sint64 on Flower's wire
            wrong = "has more than 64 bits"
        elif not _is_unicode(key) or (isinstance(value, str) and not _is_unicode(value)):
            wrong = "is no Unicode text"
        else:
            continue
        raise LocalError(f"the run config's {shown(key)} {wrong}", hint="give a text, a finite number, true or false")


def _is_unicode(text: str) -> bool:
    """Python's file names may hold lone surrogates, for bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _processors(parties_at_once: int | None) -> str:
    """A party takes at least one processor in Flower's settings; so that several share one, Ray is told that there are more."""
    return "" if parties_at_once is None else f" init-args-num-cpus={parties_at_once}"


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1.0).is_success
    except httpx.HTTPError:
        return False
