"""Where passphrases come from: a file or descriptor, the environment, or the terminal. Never an argument, which every process can read.

They are asked for only when a key or a file needs one, once for each, and twice when something is written under a new one.
"""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.cli.options import Arguments

VARIABLE = "STFED_PASSPHRASE"


def add_passphrase_file(parser: Arguments) -> None:
    """Adds `--passphrase-file`."""
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help=f"read passphrases from the first line of FILE, such as /dev/fd/3, not from {VARIABLE} or the terminal",
    )


class Passphrases:
    """The passphrases of one command.

    Args:
        file: a file to read from; None for the environment or the terminal.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, str] = {}

    def of(self, what: object) -> Callable[[], str]:
        """What asks for the passphrase of `what`, the first time it is called.

        Raises, when called:
            LocalError: there is no passphrase and no terminal to ask on, or others may read the passphrase file.
        """

        def ask() -> str:
            name = str(what)
            if name not in self._known:
                given = self._given()
                self._known[name] = _typed(f"passphrase for {name}: ") if given is None else given
            return self._known[name]

        return ask

    def new(self, what: object) -> Callable[[], str]:
        """What asks for a new passphrase, on a terminal twice; LocalError, when called, also if the two differ."""

        def ask() -> str:
            given = self._given()
            if given is not None:
                return given
            first = _typed(f"new passphrase for {what}: ")
            if _typed("the same again: ") != first:
                raise LocalError("the two passphrases differ", hint="try again; nothing was written")
            return first

        return ask

    def _given(self) -> str | None:
        if self._file is None:
            return os.environ.get(VARIABLE) or None
        if "" not in self._known:  # a pipe can be read once
            from stfed.keys.passphrasefile import read_passphrase

            self._known[""] = read_passphrase(self._file)
        return self._known[""]


def _typed(prompt: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would show what is typed
        try:
            return getpass.getpass(prompt)
        except (getpass.GetPassWarning, EOFError):
            raise LocalError(
                "a passphrase is needed, and there is no terminal to ask for it", hint=f"set {VARIABLE}, or use --passphrase-file"
            ) from None
