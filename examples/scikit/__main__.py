"""scikit: measures, trains, and holds both against the same from all rows in one place.

python -m examples.scikit [--labs N] [--rounds N] [FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples.scikit.pooled import Model, alone, federated, pooled, scaler_differs
from stfed.errors import StfedError
from stfed.flower.runtime import SimulationRuntime, tail
from stfed.keys import generate_keypair, write_keypair
from stfed.report.eventlog import NAME, read

APP = Path(__file__).parent
_POLL_S = 0.2


def main(arguments: list[str]) -> int:
    """Runs both steps; the exit code is 1 if the scaler is further from the pooled one than its statistics promise."""
    parser = argparse.ArgumentParser(prog="python -m examples.scikit", description="A scikit-learn model and its scaler over secure sums.")
    parser.add_argument("folder", nargs="?", type=Path, help="for the results (default: runs/scikit-TIME)")
    parser.add_argument("--labs", type=int, default=5, metavar="N", help="laboratories (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="default: %(default)s")
    asked = parser.parse_args(arguments)
    folder: Path = asked.folder or Path("runs") / f"scikit-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if Console().is_terminal else 120, soft_wrap=True, highlight=False)
    try:
        run(folder.resolve(), asked.labs, asked.rounds, console)
    except StfedError as error:
        console.print(f"[red]error[/]: {escape(str(error))}")
        return 1
    scaler = json.loads((folder / "scaler.json").read_text())
    worst = scaler_differs(scaler, asked.labs)
    as_promised = worst <= 1
    console.print(
        f"{len(scaler['columns'])} means and deviations of {scaler['rows']} rows from one secure sum: "
        + ("[green]those of all rows in one place[/], within their stated errors" if as_promised else "[red]NOT those of all rows[/]")
    )
    console.print(results(federated(folder, scaler), pooled(asked.labs), alone(asked.labs)))
    return 0 if as_promised else 1


def run(folder: Path, labs: int, rounds: int, console: Console) -> None:
    """Runs the app twice on Flower's simulation runtime, every round's model sealed for `folder/key`.

    Raises:
        StfedError: one of them did not get to its end.
    """
    write_keypair(folder / "key", generate_keypair()[0])
    with SimulationRuntime(folder) as runtime:
        for step in ("measure", "train"):
            console.print(f"{step}: {labs} laboratories on Flower's simulation runtime; starting it takes some seconds", style="dim")
            run_step(step, runtime, labs, rounds)


def run_step(step: str, runtime: SimulationRuntime, labs: int, rounds: int) -> None:
    """One run of the app, with its files in the runtime's folder."""
    folder = runtime.work_dir
    config = {"step": step, "num-server-rounds": rounds, "out": str(folder), "recipient": str(folder / "key.pub")}
    runtime.start_run(APP, config, labs)
    while not runtime.finished():
        time.sleep(_POLL_S)
    made = folder / ("scaler.json" if step == "measure" else NAME)
    if not made.exists() or (step == "train" and read(made)[-1].get("failure", "") is not None):
        raise StfedError(f"the run ({step}) did not get to its end:\n{tail(runtime.run_log)}")


def results(together: Model, one_place: Model, single: list[Model]) -> Table:
    """Accuracy on the public test set."""
    table = Table(title="logistic regression, on the public test set", title_justify="left")
    table.add_column("model")
    table.add_column("training rows", justify="right")
    table.add_column("accuracy", justify="right")
    table.add_column("log loss", justify="right")
    for name, model in (("[bold]federated, over secure sums[/]", together), ("all rows in one place", one_place)):
        table.add_row(name, str(model.rows), f"{model.accuracy:.4f}", f"{model.loss:.4f}", end_section=model is one_place)
    for number, model in enumerate(single, start=1):
        table.add_row(f"laboratory {number} alone", str(model.rows), f"{model.accuracy:.4f}", f"{model.loss:.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
