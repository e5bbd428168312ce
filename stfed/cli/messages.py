"""What goes to stderr: `error:`, `hint:` and `note:` lines, which hold no secret key, cannot steer a terminal, and are all ours.

Messages quote logs and servers. What they say after a newline is indented, so that it cannot pass for a line of this program.
"""

from __future__ import annotations

import re
import sys

from stfed.cli.style import painted

_OPTIONS = {
    "identity": "--identity",
    "passphrase": "--passphrase",
    "purpose": "--purpose",
    "service": "--keyserver",
    "signer": "--sign",
    "trusted": "--trusted",
}
_ARGUMENT = re.compile(rf"\b({'|'.join(_OPTIONS)})=(\.\.\.|'\.\.\.')")
_SECRET = re.compile(r"(AGE-SECRET-KEY-|STFED-SIGNING-KEY-)[0-9A-Z-]+", re.IGNORECASE)
_INDENT = " " * len("error: ")


def failure(message: str, hint: str | None) -> None:
    """Why a command failed, and what to do about it."""
    _say("error", message)
    if hint is not None:
        _say("hint", _ARGUMENT.sub(lambda match: _OPTIONS[match[1]], hint))  # the library speaks of arguments, people type options


def note(message: str) -> None:
    """What somebody should know who reads stderr, and no script needs."""
    _say("note", message)


def _say(kind: str, message: str) -> None:
    """A line on stderr. A secret key that was typed where a path belongs is not repeated into a terminal's history or a job's log."""
    text = "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in message)  # may steer a terminal
    text = _SECRET.sub("(a secret key)", text).replace("\n", "\n" + _INDENT)
    print(f"{painted(f'{kind}:', kind, sys.stderr)} {text}", file=sys.stderr)
