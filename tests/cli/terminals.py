"""A terminal for the tests: what a process, or code here, shows on one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TextIO

from tests.cli.commands import ROOT


class Screen:
    """What was shown on a terminal, complete once the terminal is closed."""

    def __init__(self) -> None:
        self._bytes = BytesIO()

    def fill(self, master: int) -> None:
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # nobody has the other end any more
                return
            if not data:
                return
            self._bytes.write(data)

    @property
    def text(self) -> str:
        return self._bytes.getvalue().decode().replace("\r\n", "\n")


@contextmanager
def terminal() -> Iterator[tuple[TextIO, Screen]]:
    """A terminal to write to, and what it shows; all of it behind the block."""
    master, slave = os.openpty()
    screen = Screen()
    reader = threading.Thread(target=screen.fill, args=(master,))
    reader.start()
    try:
        with os.fdopen(slave, "w") as stream:
            yield stream, screen
    finally:
        reader.join()
        os.close(master)


def stfed(*arguments: object, stdout: bool = True, stderr: bool = True, **variables: str) -> tuple[int, str, str]:
    """Runs the command with stdout and stderr on a terminal each, or into pipes; the exit code and what came out.

    Args:
        arguments: of the command.
        stdout: whether that is a terminal.
        stderr: whether that is one.
        variables: of the environment, in which nothing else says anything about colours.
    """
    quiet = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    command = [sys.executable, "-m", "stfed", *map(str, arguments)]
    with terminal() as (out, shown), terminal() as (err, said):
        run = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out if stdout else subprocess.PIPE,
            stderr=err if stderr else subprocess.PIPE,
            env={**quiet, "TERM": "xterm", **variables},
            timeout=60,
            check=False,
        )
    return run.returncode, shown.text if stdout else run.stdout.decode(), said.text if stderr else run.stderr.decode()
