"""deployment: a SuperLink and eight SuperNodes as separate processes, TLS, SuperNode authentication, malicious mode, and what goes wrong.

    python -m examples.deployment [--wards N] [FOLDER]

A SuperNode is killed in each phase of a round, the SuperLink is restarted, a stranger and somebody in the middle try to come in, and in the
end everything that the coordinator ever received is searched for what the wards computed. The exit code is 0 only if all of it held.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from examples.deployment.acts import Play
from examples.deployment.rows import table
from stfed.errors import StfedError

WARDS = 8
FEWEST = 7  # two are killed in one round, and five are the fewest that a ward's policy lets into a sum


def main(arguments: list[str]) -> int:
    """Runs the play; the exit code is 1 if something did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.deployment", description="A deployment in malicious mode, and what goes wrong."
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, help="an empty or new folder for what every machine keeps; a temporary one if left out"
    )
    parser.add_argument("--crash", action="store_true", help="sign nobody off who is killed; Flower has to notice, which takes minutes")
    parser.add_argument("--wards", type=int, default=WARDS, metavar="N", help=f"SuperNodes, {FEWEST} or more (default: %(default)s)")
    asked = parser.parse_args(arguments)
    if asked.wards < FEWEST:
        parser.error(f"--wards is at least {FEWEST}")
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    root = asked.folder or Path(tempfile.mkdtemp(prefix="stfed-deployment-"))
    if root.exists() and any(root.iterdir()):
        print(f"error: {root} is not empty", file=sys.stderr)
        return 2
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:6.1f} s[/]  {text}")

    try:
        with contextlib.ExitStack() as stack:
            play = Play(stack, root.resolve(), asked.wards, say, crash=asked.crash)
            for act in acts(play):
                act()
    except StfedError as error:
        console.print(f"[red]error[/]: {escape(error.message)}", soft_wrap=True)
        console.print(f"logs are in {root}", soft_wrap=True)
        return 1
    console.print(table(play.rows))
    held = all(row.held for row in play.rows)
    console.print(f"{'[green]everything held[/]' if held else '[red]NOT everything held[/]'}, {time.monotonic() - started:.0f} s; ", end="")
    console.print(f"what every machine kept is in {root}", soft_wrap=True)
    return 0 if held else 1


def acts(play: Play) -> list[Callable[[], None]]:
    """The play, in order."""
    return [
        play.open,
        lambda: play.secure_round(1, {"join": 0, "confirm": 1}),
        lambda: play.secure_round(2, {"prepare": 2, "train": 3}, supervised=True),
        play.restart_superlink,
        play.control,
        play.new_run,
        lambda: play.secure_round(3, {"unmask+prepare": 5}),
        lambda: play.secure_round(4, {"unmask": 4}),
        play.end_run,
        play.check_models,
        play.search,
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
