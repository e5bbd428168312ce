"""A worker of `stfed.encrypted.crew` as its parent sees it: `stfed.encrypted.worker` in a fresh interpreter, behind a socket.

Nothing that it knows stands on its command line, in its environment, or in a file that has a name.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stfed.encrypted.parameters import Parameters
from stfed.encrypted.parcels import BUFFER_BYTES, Kind, send
from stfed.encrypted.paying import VARIABLE
from stfed.errors import LocalError


class WorkerProcess:
    """One of them.

    Attributes:
        channel: the socket that it has as its standard input.
        ready: whether it has its keys, and so can be given jobs.
        operation: of the batch that it was told of; empty between batches.
        under_way: the jobs that it was given and has not done.
        kept: id() of the ciphertexts that it keeps during the batch.
    """

    def __init__(self) -> None:
        self.channel: socket.socket
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        # As many as there are cores: one thread each.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_module_folders()), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "stfed.encrypted.worker"]
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - nothing in it is a user's
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment, process_group=0
            )
        except OSError as error:
            self.channel.close()
            why = error.strerror or type(error).__name__
            raise LocalError(f"no worker process can be started: {why}", hint=f"{VARIABLE}=1 computes in this process alone") from None
        finally:
            theirs.close()
        self.ready: bool = False
        self.operation: str = ""
        self.under_way: set[int] = set()
        self.kept: set[int] = set()

    def begin(self, parameters: Parameters, keys: Sequence[bytes | None]) -> None:
        """Sends what every job needs."""
        setting = [parameters.degree, parameters.modulus_bits, parameters.scale_bits, len(keys)]
        with self.talking():
            send(self.channel, Kind.SETTING, 0, json.dumps(setting).encode())
            for number, key in enumerate(keys):
                send(self.channel, Kind.KEY, number, key)

    def tell(self, operation: str) -> None:
        """A batch begins, or with the empty name one ends, and what was kept for it is forgotten."""
        if operation != self.operation:
            with self.talking():
                send(self.channel, Kind.BATCH, 0, operation.encode())
            self.operation = operation
            self.kept.clear()

    def fileno(self) -> int:
        """For a selector."""
        return self.channel.fileno()

    @contextmanager
    def talking(self) -> Iterator[None]:
        """For what is sent: says what became of the process if its socket has ended.

        Raises:
            LocalError: it has.
        """
        try:
            yield
        except ConnectionError:
            raise self.lost() from None

    def lost(self) -> LocalError:
        """What to raise once its socket has ended."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            fate = "closed its socket"
        else:
            fate = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return LocalError(
            f"a worker process for encrypted tensors {fate}, so the operation has no result",
            hint=f"if memory ran out, {VARIABLE}=1 computes in this process alone",
        )

    def end(self) -> None:
        """At once: it has nothing that would be lost."""
        self.channel.close()
        self.process.kill()
        self.process.wait()


def _module_folders() -> list[str]:
    """Where modules are loaded from here, but for the folder that somebody stands in: what was put there is not run by a worker.

    `sys.path` has that one as "" in notebooks, and where Python reads commands. If it is how stfed itself was found, stfed's own is named.
    """
    folders, own = [folder for folder in sys.path if Path(folder).is_absolute()], str(Path(__file__).absolute().parents[2])
    return folders if own in folders else [own, *folders]
