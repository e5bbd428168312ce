"""digits: runs the app in secure rounds on Flower's simulation runtime, then the same training in plain FedAvg, and compares the two.

python -m examples.digits [RUN_FILE [FOLDER]]
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.digits.compare import APP, Round, draw, first_round_differs, plain, rounds_of
from stfed.cli.run import print_files, run_app
from stfed.errors import StfedError


def main(arguments: list[str]) -> int:
    """Runs both; the exit code is 1 if secure and plain differ by more than the encoding's precision."""
    if len(arguments) > 2:
        print("usage: python -m examples.digits [RUN_FILE [FOLDER]]", file=sys.stderr)
        return 2
    run_file = Path(arguments[0]) if arguments else APP / "digits.toml"
    console = Console(width=None if Console().is_terminal else 160, soft_wrap=True, highlight=False)
    try:
        folder = run_app(run_file, app=APP, out=Path(arguments[1]) if len(arguments) == 2 else None, console=console)
    except StfedError as error:
        print(f"error: {error.message}", *(() if error.hint is None else (f"hint: {error.hint}",)), sep="\n", file=sys.stderr)
        return 1
    console.print("\nThe same training again in plain FedAvg, to compare...", style="dim")
    side, secure = plain(tomllib.loads(run_file.read_text())), rounds_of(folder)
    console.print(table_of(secure, side.rounds))
    difference, allowed = first_round_differs(folder, side)
    equal = difference <= allowed
    console.print(
        f"the models after round 1 are {'[green]equal[/]' if equal else '[red]NOT equal[/]'}: no weight differs by more than "
        f"{difference:.1e}, allowed are 2^-20 x clip = {allowed:.1e}"
    )
    if (picture := draw(secure, side.rounds, folder)) is not None:
        console.print(f"accuracy by round: {picture}")
    print_files(console, folder)
    return 0 if equal else 1


def table_of(secure: list[Round], side: list[Round]) -> Table:
    """What came out, round by round."""
    table = Table(title="accuracy after each round", title_justify="left")
    for title in ("round", "in the sum", "branches' own images", "public test set", "the same, plain FedAvg"):
        table.add_column(title, justify="right")
    for own, other in zip(secure, side, strict=True):
        table.add_row(str(own.number), str(own.summed), f"{own.federated:.4f}", f"[bold]{own.central:.4f}[/]", f"{other.central:.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
