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
from examples.hospitals.compare import Plain, alone, plain_fedavg
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
    console.print("\nThe same training again, without secure aggregation and alone, to compare...", style="dim")
    plain = plain_fedavg(config)
    secure, difference = hold_against(plain, folder, config)
    console.print(results(secure, plain, alone(config), config))
    allowed = STATED * config["clip"]
    equal = difference <= allowed
    verdict = "[green]equal[/]" if equal else "[red]NOT equal[/]"
    console.print(
        f"secure and plain are {verdict}: over {len(plain.states) - 1} rounds the models differ by at most {difference:.2e}, "
        f"allowed are 2^-20 x clip = {allowed:.2e}",
        highlight=False,
    )
    print_files(console, folder)
    return 0 if equal else 1


def hold_against(plain: Plain, folder: Path, config: dict[str, object]) -> tuple[float, float]:
    """The secure model's accuracy after the last round, and the largest difference of any weight to the plain run after any round."""
    dataset, seed = str(config["dataset"]), int(str(config["seed"]))
    model, difference = task.make_model(dataset, seed), 0.0
    for server_round, state in enumerate(plain.states[1:], start=1):
        sealed = load_file(folder / "models" / f"round-{server_round:03d}.safetensors", identity=folder / "key")
        difference = max(difference, *((sealed[name] - value).abs().max().item() for name, value in state.items()))
        model.load_state_dict(sealed)
    return task.evaluate(model, public_test(dataset, seed))[1], difference


def results(secure: float, plain: Plain, accuracies: tuple[float, ...], config: dict[str, object]) -> Table:
    """Accuracy on the public test set: secure, plain, and every hospital alone."""
    splits = partitions(str(config["dataset"]), len(accuracies), float(str(config["dirichlet-alpha"])), int(str(config["seed"])))
    table = Table(title="accuracy on the public test set", title_justify="left")
    table.add_column("model")
    table.add_column("training samples", justify="right")
    table.add_column("accuracy", justify="right")
    total = sum(len(split.train.y) for split in splits)
    table.add_row("[bold]together, securely[/]", str(total), f"[bold]{secure:.4f}[/]")
    table.add_row("together, plain FedAvg", str(total), f"{plain.accuracies[-1]:.4f}", end_section=True)
    for party, (split, accuracy) in enumerate(zip(splits, accuracies, strict=True), start=1):
        table.add_row(f"hospital {party} alone", str(len(split.train.y)), f"{accuracy:.4f}", end_section=party == len(splits))
    table.add_row("mean of the hospitals alone", "", f"{sum(accuracies) / len(accuracies):.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
