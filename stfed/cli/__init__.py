"""The command line: `stfed COMMAND ...`.

What was asked for goes to stdout, everything else to stderr, failures as `error: ...` and `hint: ...`. The exit codes (stfed/cli/codes.py)
are for scripts; docs/cli.md lists them.

A command group is a module here with `register(commands)`, which adds its parsers and sets `handler`, a function from the parsed
arguments to an exit code, as their default; stfed/cli/parser.py shows how. Handlers import what they need when they run, so that
`stfed --help` is quick. Only this package prints and exits.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from stfed import __version__
from stfed.cli.codes import BROKEN_PIPE, FAILED, INTERRUPTED, MEANINGS, OK, TERMINATED, code_of
from stfed.cli.messages import failure
from stfed.cli.messages import note as note
from stfed.cli.parser import Parser
from stfed.errors import StfedError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]

COMMANDS: dict[str, tuple[str, ...]] = {
    "Training": ("init", "plan", "run", "demo"),
    "Watching": ("watch", "dashboard", "report", "export"),
    "Files": ("sealed", "inspection", "access"),
    "Keys and people": ("keys", "roster", "policy", "keyserver"),
    "Audit": ("audit",),
    "Machine": ("doctor", "supernode", "bench", "completion", "help"),
}
"""The modules of this package that register commands, by section and in the order of `stfed --help`."""

_ENVIRONMENT = (
    ("STFED_PASSPHRASE", "the passphrase, where a command needs one and is given no --passphrase-file"),
    ("NO_COLOR, FORCE_COLOR", "no colours; colours even where the output is no terminal. TERM=dumb is honoured too"),
    ("COLUMNS", "the width that text wraps to (default: the terminal's)"),
    ("STFED_STATE_DIR", "where a party keeps its state (default: stfed in XDG_STATE_HOME, which is ~/.local/state)"),
)
_MORE = (
    ("stfed COMMAND --help", "what a command reads, writes and never does, its options, and examples; also: stfed help COMMAND"),
    ("docs/cli.md", "all commands on one page, as a story that runs"),
)


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; raises nothing that a command refuses or the system denies.

    Args:
        argv: the arguments, without the program's name; those of the process if None.
    """
    try:
        with _ending_tidily():
            code = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more as it ends; give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


@contextmanager
def _ending_tidily() -> Iterator[None]:
    """On SIGTERM what is open is closed, as on Ctrl+C: child processes end, nothing partial is left. Servers have handlers of their own."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(_: int, __: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(argv: list[str] | None) -> int:
    try:
        arguments = make_parser().parse_args(argv)
        code: int = arguments.handler(arguments)
    except SystemExit as stop:  # argparse, after --help, --version or wrong usage; or SIGTERM
        return stop.code if isinstance(stop.code, int) else OK
    except StfedError as error:
        failure(error.message, error.hint)
        return code_of(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        failure(f"{error.filename}: {error.strerror}" if error.filename else str(error), None)
        return FAILED
    return code


def make_parser() -> Parser:
    """The parser of `stfed` with all its commands."""
    parser = Parser(
        prog="stfed",
        description="Secure aggregation for federated learning on Flower, where the coordinator sees the sum and no update, and sealed "
        "tensor files. What was asked for goes to stdout, everything else to stderr.",
        sections=(("exit codes", MEANINGS), ("environment", _ENVIRONMENT), ("more", _MORE)),
        examples=(
            ("stfed init my-app", "what makes a Flower app a secure one"),
            ("stfed run configs/quickstart.toml", "run one here, with ten simulated parties"),
            ("stfed seal model.safetensors --recipient bob.key.pub --sign alice.key --out sealed.safetensors", "a model for Bob only"),
        ),
    )
    parser.add_argument("--version", action="version", version=f"stfed {__version__}", help="print the version")
    commands: Commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for section, modules in COMMANDS.items():
        for name in modules:
            known = set(commands.choices)
            import_module(f"{__name__}.{name}").register(commands)
            for command in commands.choices.keys() - known:
                commands.choices[command].section = section
    return parser
