"""lora: pre-trains a base model, adapts it in secure rounds on Flower's simulation runtime, and holds the result against other ways.

python -m examples.lora [--rounds N] [--steps N] [--pretraining N] [--base FILE] [FOLDER]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.lora.beside import alone, by_laboratory, over_all, pooled
from examples.lora.fieldnotes.base import STEPS, load_base, make_base
from examples.lora.fieldnotes.lora import merge
from examples.lora.fieldnotes.task import SHARED, continued, create_model
from examples.lora.fieldnotes.text import FIELDS, documents
from examples.lora.picture import draw
from examples.lora.simulate import APP, Run, run
from stfed.errors import StfedError
from stfed.sealed.torch import load_file

PROMPT = "Parameters\n----------\nx : "
AGREES = 1e-5  # bits per byte; float32 sums in another order, and the secure mean is exact to 5e-10


def main(arguments: list[str]) -> int:
    """Runs everything; the exit code is 1 if the adapter out of the sealed file does not do what the secure mean said of it."""
    parser = argparse.ArgumentParser(prog="python -m examples.lora", description="Adapters on a language model, over secure sums.")
    parser.add_argument("folder", nargs="?", type=Path, help="for the results (default: runs/lora-TIME)")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=25, metavar="N", help="of a laboratory in a round (default: %(default)s)")
    parser.add_argument("--pretraining", type=int, default=STEPS, metavar="N", help="steps of the base model (default: %(default)s)")
    parser.add_argument("--base", type=Path, metavar="FILE", help="of an earlier run, to spare the pre-training")
    asked = parser.parse_args(arguments)
    folder: Path = asked.folder or Path("runs") / f"lora-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if Console().is_terminal else 120, soft_wrap=True, highlight=False)
    app: dict[str, Any] = tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    config = {**app, "num-server-rounds": asked.rounds, "local-steps": asked.steps}
    try:
        base: Path = asked.base or pretrained(folder / "base.safetensors", asked.pretraining, console)
        load_base(base)
        console.print(f"{len(FIELDS)} laboratories on Flower's simulation runtime, beside it the trainings to compare with...", style="dim")
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            one_place = pool.submit(pooled, base, config)
            single = [pool.submit(alone, base, laboratory, config) for laboratory in range(len(FIELDS))]
            together = run(folder, base, config)
            apart, elsewhere = zip(*(each.result() for each in single), strict=True)
            return report(console, folder, base, together, apart, over_all(elsewhere), one_place.result())
    except StfedError as error:
        print(f"error: {error.message}", *(() if error.hint is None else (f"hint: {error.hint}",)), sep="\n", file=sys.stderr)
        return 1


def pretrained(path: Path, steps: int, console: Console) -> Path:
    """The base model, on public text."""
    console.print(f"pre-training the base model on public text, {steps} steps...", style="dim")
    make_base(path, steps)
    return path


def report(
    console: Console,
    folder: Path,
    base: Path,
    together: Run,
    apart: Sequence[Sequence[float]],
    elsewhere: float,
    one_place: Sequence[Sequence[float]],
) -> int:
    """Prints what came out, and says whether the sealed adapter is as good as the parties' secure mean."""
    before = by_laboratory(load_base(base))
    sample = continued(load_base(base), PROMPT, 220)

    # What whoever holds the key does
    model = load_base(base)
    model.load_state_dict(load_file(together.adapter, identity=folder / "key"), strict=False)
    merge(model)

    after = by_laboratory(model)
    columns = {"base model": before, "alone": [curve[-1] for curve in apart], "federated": after, "one place": one_place[-1]}
    console.print(table_of(columns))
    console.print(f"alone, on the documents of the other laboratories: {elsewhere:.3f}")
    tensors = SHARED.tensors(load_base(base)).values()
    adapter, whole = sum(tensor.numel() for tensor in tensors), sum(parameter.numel() for parameter in create_model().parameters())
    console.print(
        f"a laboratory sent {together.uploaded_bytes / 1000:.1f} kB in a round: {adapter:,} numbers under masks, and the protocol; "
        f"all {whole:,} of the model are {4 * whole / 1000:.1f} kB"
    )
    console.print(f"the sealed adapter, {together.adapter.stat().st_size / 1000:.1f} kB: {together.adapter}")
    agrees = abs(over_all(after) - together.bits[-1]) <= AGREES
    says = "as the laboratories' secure mean says" if agrees else f"but the laboratories' secure mean is {together.bits[-1]:.6f}"
    colour = "green" if agrees else "red"
    console.print(f"opened and merged into the base, it has {over_all(after):.6f} bits per byte, [{colour}]{says}[/]")
    start = over_all(before)
    by_round = {
        "each alone": [start, *map(over_all, zip(*apart, strict=True))],
        "federated, over secure sums": [start, *together.bits],
        "all documents in one place": [start, *map(over_all, one_place)],
    }
    if (picture := draw(by_round, folder / "bits.png")) is not None:
        console.print(f"bits per byte by round: {picture}")
    for name, text in (("the base model", sample), ("with the adapter", continued(model, PROMPT, 220))):
        console.print(f"\n[bold]{name} writes[/]")
        console.print(text, markup=False)
    return 0 if agrees else 1


def table_of(columns: Mapping[str, Sequence[float]]) -> Table:
    """Bits per byte by laboratory and in all."""
    table = Table(title="bits per byte of each laboratory's held-out documents; less is better", title_justify="left")
    table.add_column("laboratory")
    table.add_column("characters to train on", justify="right")
    for name in columns:
        table.add_column(name, justify="right", style="bold" if name == "federated" else "")
    for laboratory, field in enumerate(FIELDS):
        values = (f"{bits[laboratory]:.3f}" for bits in columns.values())
        table.add_row(field, f"{len(documents(laboratory)[0]):,}", *values, end_section=laboratory == len(FIELDS) - 1)
    total = sum(len(documents(laboratory)[0]) for laboratory in range(len(FIELDS)))
    table.add_row("all", f"{total:,}", *(f"{over_all(bits):.3f}" for bits in columns.values()))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
