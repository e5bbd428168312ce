"""The process that will handle a node's next message, started while there is nothing to do.

A SuperNode starts a process for every message, and imports are most of that process' life: over a second for Flower alone, several with
a deep learning framework. Under `stfed supernode` the process for the next message (the *spare*) is started when the last one has ended.
It imports everything and waits to be told which message it is for. It is the process that would have been started anyway, with the same
command, ancestors, environment and working folder, only earlier; it handles one message, and no state goes from one message to the next.
(Forking a process that is warm would need less of the processor, and be wrong: copies share the state of NumPy's random generator, and
neither CUDA nor threads survive.)

Until the spare has said that it takes a message, whatever goes wrong means that the message gets a process of its own, as without all
this. Once it has, nobody else handles that message.

This file is also the command that the SuperNode starts, run by a bare interpreter (`-I -S`), which is up in some milliseconds; so it
imports little, and nothing of ours. It stays for as long as the spare that it has started: a party in malicious mode looks for its
SuperNode among its ancestors (`stfed.flower.channel`), and a spare ends when its parent does.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

SPARE = "--spare"
"""In the place of Flower's arguments, with a folder: import everything, then wait for them there."""

_ADDRESS = "spare"
"""The socket at which a spare waits. Whoever renames it has the spare for itself."""
_COMING = "spare-coming"
"""The process id of a spare that still imports. Whoever comes now waits for it, which is shorter than to begin anew."""

_TAKEN = b"taken"
_LOOK_S, _SOON_S = 0.5, 0.02
_LATE_S = 60.0
"""An import that takes longer is not waited for: the spare is for the message after this one then."""
_IDLE_S = 3600.0
"""A spare that nobody needed for so long gives its memory back."""
_READ_BYTES = 1 << 16

_kept: list[socket.socket] = []
"""Open for as long as this process lives: its end is how the command that gave it a message knows that it is done."""


def wait_for_message(folder: str) -> list[str]:
    """For the spare: Flower's arguments of the message that it is for. Ends the process if there will be none.

    Args:
        folder: where it waits.
    """
    parent, until = os.getppid(), time.monotonic() + _IDLE_S
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _Within(folder):
            own = Path(f"{_ADDRESS}-{os.getpid()}")
            listener.bind(str(own))
            listener.listen(1)
            own.rename(_ADDRESS)
            Path(_COMING).unlink(missing_ok=True)
    except OSError:  # the folder went with the node; or its file system has no sockets, and every message gets a process of its own
        sys.exit()
    listener.settimeout(_LOOK_S)
    while True:
        try:
            connection, _ = listener.accept()
            break
        except TimeoutError:
            if os.getppid() != parent:
                sys.exit()
            if time.monotonic() > until and _withdrawn(folder):
                sys.exit()
    listener.close()
    connection.settimeout(None)
    received = b""
    while data := connection.recv(_READ_BYTES):
        received += data
    connection.sendall(_TAKEN)
    _kept.append(connection)
    return received.decode().split("\0")


def _withdrawn(folder: str) -> bool:
    """Whether nobody has claimed the spare, and nobody can any more."""
    try:
        Path(folder, _ADDRESS).unlink()
    except FileNotFoundError:
        return False
    return True


class _Within:
    """Stands in a folder for a moment: the address of a socket has at most 107 bytes, and a path may have more."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._before = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.chdir(self._folder)
        except OSError:
            os.close(self._before)
            raise

    def __exit__(self, *_: object) -> None:
        os.fchdir(self._before)
        os.close(self._before)


def hand_over(folder: str, arguments: list[str]) -> socket.socket | None:
    """Gives a message to the spare, if need be to one that is coming.

    Args:
        folder: where it waits.
        arguments: what Flower says about the message.

    Returns:
        A connection that ends when the spare does; None if there is no spare that takes the message.
    """
    until = time.monotonic() + _LATE_S
    while True:
        coming = _is_coming(folder)  # before the look at the address: one that has come by then is found there
        connection = _hand_over(folder, arguments)
        if connection is not None or not coming or time.monotonic() > until:
            return connection
        time.sleep(_SOON_S)


def _hand_over(folder: str, arguments: list[str]) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _Within(folder):
            claimed = Path(_ADDRESS).rename(f"{_ADDRESS}-{os.getpid()}")
            try:
                connection.connect(str(claimed))
            finally:
                claimed.unlink()
        connection.sendall("\0".join(arguments).encode())
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(len(_TAKEN), socket.MSG_WAITALL) == _TAKEN:
            return connection
    except OSError:  # no spare, or one that is gone
        pass
    connection.close()
    return None


def _is_coming(folder: str) -> bool:
    """Whether a spare has been started and does not wait yet."""
    try:
        os.kill(int(Path(folder, _COMING).read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _start_spare(folder: str, command: list[str]) -> int | None:
    """The id of a new spare, unless there is one, or the node is gone."""
    home = Path(folder)
    if not home.is_dir() or (home / _ADDRESS).exists() or _is_coming(folder):
        return None
    spare = _start([*command, SPARE, folder])
    try:  # long before the spare is ready, which it says by removing this
        temporary = home / f"{_COMING}-{spare}"
        temporary.write_text(str(spare))
        temporary.rename(home / _COMING)
    except OSError:  # the node is gone by now
        pass
    return spare


def _start(command: list[str]) -> int:
    return os.posix_spawn(command[0], command, os.environ)


def _wait(process: int, parent: int) -> int:
    """The exit code of a child; ends this process when the node is gone, which the child finds out by itself."""
    while os.getppid() == parent:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOK_S)
    sys.exit(1)


def _wait_for_end(connection: socket.socket, parent: int) -> None:
    """Until the spare that took a message has ended; ends this process when the node is gone."""
    connection.settimeout(_LOOK_S)
    while os.getppid() == parent:
        try:
            connection.recv(1)
            return
        except TimeoutError:
            continue
        except OSError:
            return
    sys.exit(1)


def main(folder: str, length: str, *rest: str) -> int:
    """Has one message handled, then keeps a spare for the next one.

    Args:
        folder: where spares wait.
        length: how many of the rest are the command that handles a message.
        rest: that command, then what Flower says.

    Returns:
        The exit code of the last process that it started.
    """
    parent = os.getppid()
    command, arguments = list(rest[: int(length)]), list(rest[int(length) :])
    connection, code = hand_over(folder, arguments), 0
    if connection is None:
        code = _wait(_start([*command, *arguments]), parent)
    else:
        _wait_for_end(connection, parent)
    spare = _start_spare(folder, command)
    return code if spare is None else _wait(spare, parent)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
