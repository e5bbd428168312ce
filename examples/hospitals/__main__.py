"""hospitals: the whole demo. Runs the app in secure rounds on Flower's simulation runtime, then holds the result against plain federated
averaging and against each hospital alone.

    python -m examples.hospitals configs/quickstart.toml
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.hospitals import task
from examples.hospitals.compare import Config, Plain, State, alone, largest_difference, round_by_round
from examples.hospitals.compare import plain as plain_run
from examples.hospitals.data import partitions, public_test
from stfed.cli.run import print_files, run_app
from stfed.errors import StfedError
from stfed.sealed.torch import load_file

STATED = 2.0**-20  # of the clip: how far a secure model may be from the plain one, after any round, with the default 32-bit ring


def main(arguments: list[str]) -> int:
    """Runs the demo; the exit code is 1 if secure and plain differ by more than they may."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m examples.hospitals RUN_FILE [FOLDER]", file=sys.stderr)
        return 2
    config_path = Path(arguments[0])
    console = Console(width=None if Console().is_terminal else 160, soft_wrap=True)
    try:
        folder = run_app(config_path, app=Path(), out=Path(arguments[1]) if len(arguments) == 2 else None, console=console)
    except StfedError as error:
        print(f"error: {error.message}", *(() if error.hint is None else (f"hint: {error.hint}",)), sep="\n", file=sys.stderr)
        return 1
    config = tomllib.loads(config_path.read_text())
    if task.shared(config) is not None:
        console.print("\nEvery hospital has a model of its own, of which the files have the shared part.")
        print_files(console, folder)
        return 0
    console.print("\nThe same training again, without secure aggregation and alone, to compare...", style="dim")
    plain, secure = plain_run(config), secure_states(folder, config)
    last = task.make_model(config["dataset"], config["seed"])
    last.load_state_dict(secure[-1])
    accuracy = task.evaluate(last, public_test(config["dataset"], config["seed"]))[1]
    console.print(results(accuracy, plain, alone(config), config))
    equal = hold_against(plain, secure, config, console)
    print_files(console, folder)
    return 0 if equal else 1


def secure_states(folder: Path, config: Config) -> list[State]:
    """The secure run's models, out of their sealed files; the initial one first."""
    initial = task.make_model(str(config["dataset"]), int(config["seed"])).state_dict()
    sealed = sorted((folder / "models").glob("*.safetensors"))
    return [dict(initial), *(load_file(path, identity=folder / "key", trusted=folder / "coordinator.pub") for path in sealed)]


def hold_against(plain: Plain, secure: list[State], config: Config, console: Console) -> bool:
    """Says how far the secure models are from the plain ones; False if a round differs by more than it may."""
    rounds, allowed = len(secure) - 1, STATED * float(config["clip"])
    one = max(map(largest_difference, secure[1:], round_by_round(config, secure)))
    whole = max(map(largest_difference, secure[1:], plain.states[1:]))
    meant = [
        *(["the noise is meant to show"] if float(config.get("l2-clip", 0)) else []),
        *(["the plain strategy compares single parties, the secure one groups"] if int(config.get("group-size", 0)) else []),
    ]
    if meant:
        console.print(f"secure and plain differ by at most {one:.2e} a round: {', '.join(meant)}", highlight=False)
        return True
    value_bits, ring_bits = int(config.get("value-bits", 0)), int(config["ring-bits"])
    if value_bits or ring_bits < 32:
        bits = f"{value_bits}-bit values" if value_bits else f"a ring of {ring_bits} bits"
        console.print(f"with {bits}, secure and plain differ by at most {one:.2e} a round", highlight=False)
        return True
    equal = one <= allowed
    console.print(
        f"secure and plain are {'[green]equal[/]' if equal else '[red]NOT equal[/]'}: a round from the same model differs by at most "
        f"{one:.2e} in any weight, allowed are 2^-20 x clip = {allowed:.2e}",
        highlight=False,
    )
    drift = "" if whole <= allowed else " (training amplifies the last bits from round to round; the order of the replies does the same)"
    console.print(f"the two runs, {rounds} rounds each on their own, differ by at most {whole:.2e}{drift}", highlight=False)
    return equal


def results(secure: float, plain: Plain, accuracies: tuple[float, ...], config: Config) -> Table:
    """Accuracy on the public test set: secure, plain, and every hospital alone."""
    splits = partitions(str(config["dataset"]), len(accuracies), float(str(config["dirichlet-alpha"])), int(str(config["seed"])))
    table = Table(title="accuracy on the public test set", title_justify="left")
    table.add_column("model")
    table.add_column("training samples", justify="right")
    table.add_column("accuracy", justify="right")
    total = sum(len(split.train.y) for split in splits)
    table.add_row("[bold]together, securely[/]", str(total), f"[bold]{secure:.4f}[/]")
    table.add_row("together, plain", str(total), f"{plain.accuracies[-1]:.4f}", end_section=True)
    for party, (split, accuracy) in enumerate(zip(splits, accuracies, strict=True), start=1):
        table.add_row(f"hospital {party} alone", str(len(split.train.y)), f"{accuracy:.4f}", end_section=party == len(splits))
    table.add_row("mean of the hospitals alone", "", f"{sum(accuracies) / len(accuracies):.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
