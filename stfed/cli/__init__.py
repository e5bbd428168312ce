"""The command line: `stfed COMMAND ...`.

What was asked for goes to stdout, everything else to stderr, failures as `error: ...` and `hint: ...`. Exit codes: 0 done, 1 refused or
failed, 2 wrong usage, 130 interrupted, 141 the reader of stdout went away.

A command group is a module here with `register(commands)`, which adds its parsers and sets `handler`, a function from the parsed
arguments to an exit code, as their default. Handlers import what they need when they run, so that `stfed --help` is quick. Only this
package prints and exits.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from stfed import __version__
from stfed.errors import StfedError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COMMANDS = ("run", "plan", "sealed")
"""The modules of this package that register commands, in the order of `stfed --help`."""

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
BROKEN_PIPE = 128 + 13  # and SIGPIPE


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
        return FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        _report(f"{error.filename}: {error.strerror}" if error.filename else str(error), None)
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="stfed", description="Secure aggregation for federated learning.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"stfed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").register(commands)
    return parser


def _report(message: str, hint: str | None) -> None:
    print(f"error: {message}", file=sys.stderr)
    if hint is not None:
        print(f"hint: {hint}", file=sys.stderr)
