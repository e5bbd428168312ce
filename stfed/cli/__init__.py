"""The command line: `stfed COMMAND ...`.

What was asked for goes to stdout, everything else to stderr, failures as `error: ...` and `hint: ...`. The exit codes below are for
scripts; docs/cli.md lists them.

A command group is a module here with `register(commands)`, which adds its parsers and sets `handler`, a function from the parsed
arguments to an exit code, as their default. Handlers import what they need when they run, so that `stfed --help` is quick. Only this
package prints and exits.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from stfed import __version__
from stfed.errors import StfedError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COMMANDS = (
    *("init", "run", "dashboard", "report", "plan"),
    *("keys", "sealed", "inspection", "access", "roster", "policy", "supernode", "doctor", "audit", "keyserver"),
)
"""The modules of this package that register commands, in the order of `stfed --help`."""

OK = 0
FAILED = 1  # refused or failed for a reason that has no code of its own
USAGE = 2
NO_KEY = 3  # none of the keys and passphrases at hand fits
UNBELIEVED = 4  # damaged, changed, rolled back, or not signed by anybody trusted
FORBIDDEN = 5  # a policy or a roster does not allow it
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
BROKEN_PIPE = 128 + 13  # and SIGPIPE

_CODES = {
    "NotARecipientError": NO_KEY,
    "PassphraseError": NO_KEY,
    "MalformedError": UNBELIEVED,
    "TamperedError": UNBELIEVED,
    "UntrustedError": UNBELIEVED,
    "RollbackError": UNBELIEVED,
    "BadSignatureError": UNBELIEVED,
    "ProofError": UNBELIEVED,
    "ForkError": UNBELIEVED,
    "TamperedLogError": UNBELIEVED,
    "AccessDeniedError": FORBIDDEN,
    "RosterError": FORBIDDEN,
}
"""By name, so that no command has to import what another one raises. Damaged and changed are one: whoever changes a file has the choice."""

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


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage in this command line's manner. Subparsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        _report(message, f"see {self.prog} --help")
        raise SystemExit(USAGE)


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; raises nothing that a command refuses or the system denies.

    Args:
        argv: the arguments, without the program's name; those of the process if None.
    """
    try:
        code = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more as it ends; give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _run(argv: list[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.handler(arguments)
    except SystemExit as stop:  # argparse, after --help, --version or wrong usage
        return stop.code if isinstance(stop.code, int) else OK
    except StfedError as error:
        _report(error.message, error.hint)
        return next((_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CODES), FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:
        _report(f"{error.filename}: {error.strerror}" if error.filename else str(error), None)
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="stfed", description="Secure aggregation for federated learning, and sealed tensor files.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"stfed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").register(commands)
    return parser


def _report(message: str, hint: str | None) -> None:
    _say("error", message)
    if hint is not None:
        _say("hint", _ARGUMENT.sub(lambda match: _OPTIONS[match[1]], hint))  # the library speaks of arguments, people type options


def note(message: str) -> None:
    """What somebody should know who reads stderr, and no script needs."""
    _say("note", message)


def _say(kind: str, message: str) -> None:
    """A line on stderr. A secret key that was typed where a path belongs is not repeated into a terminal's history or a job's log."""
    text = "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in message)  # may steer a terminal
    print(f"{kind}: {_SECRET.sub('(a secret key)', text)}", file=sys.stderr)
