"""analytics: runs the survey on Flower's simulation runtime and holds every answer against NumPy on all rows in one place.

python -m examples.analytics [FOLDER]
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from examples.analytics.pooled import differences, quartiles
from stfed.errors import StfedError
from stfed.flower.runtime import SimulationRuntime, tail

HOSPITALS = 5
_POLL_S = 0.2


def main(arguments: list[str]) -> int:
    """Runs the survey; the exit code is 1 if an answer is further from the pooled data than it says."""
    if len(arguments) > 1:
        print("usage: python -m examples.analytics [FOLDER]", file=sys.stderr)
        return 2
    console = Console(width=None if Console().is_terminal else 160, soft_wrap=True)
    folder = Path(arguments[0]) if arguments else Path("runs") / f"analytics-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        answers = run(folder.resolve())
    except StfedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(numbers(answers))
    console.print(correlations(answers))
    found = {answer["result"]: answer for answer in answers}
    shares = ", ".join(f"{count} {label}" for label, count in found["FrequenciesOf"]["counts"].items())
    console.print(f"{found['FrequenciesOf']['values']} patients of {answers[0]['parties']} hospitals: {shares}", highlight=False)
    wrong = [text for answer in answers for text in differences(answer)]
    console.print(
        "\n".join(wrong) or "every answer is that of the pooled rows: counts exactly, the rest within its stated error", highlight=False
    )
    if (picture := draw(answers, folder)) is not None:
        console.print(f"histogram with quartiles: {picture}", highlight=False)
    return 1 if wrong else 0


def run(folder: Path) -> list[dict[str, Any]]:
    """The answers of one run.

    Raises:
        StfedError: it did not get to its end.
    """
    out = folder / "answers.json"
    with SimulationRuntime(folder) as runtime:
        runtime.start_run(Path(__file__).parent, {"out": str(out), "min-parties": HOSPITALS}, HOSPITALS)
        while not runtime.finished():
            time.sleep(_POLL_S)
        if not out.exists():
            raise StfedError(f"the survey did not get to its end:\n{tail(runtime.run_log)}")
    answers: list[dict[str, Any]] = json.loads(out.read_text())
    return answers


def numbers(answers: list[dict[str, Any]]) -> Table:
    """Mean, deviation and quartiles, each beside that of the pooled rows."""
    table = Table(title="answers, and the same from all rows in one place", title_justify="left")
    for title in ("measurement", "values", "mean", "deviation", "quartiles", "pooled mean", "deviation", "quartiles"):
        table.add_column(title, justify="left" if title == "measurement" else "right")
    quantiles = {answer["column"]: answer["quantiles"] for answer in answers if answer["result"] == "QuantilesOf"}
    for answer in (answer for answer in answers if answer["result"] == "VarianceOf"):
        name = answer["column"]
        mean, deviation, between = quartiles(name)
        own = (f"{answer['mean']:.4f}", f"{answer['variance'] ** 0.5:.4f}", "  ".join(f"{value:g}" for value in quantiles[name].values()))
        table.add_row(name, str(answer["values"]), *own, f"{mean:.4f}", f"{deviation:.4f}", "  ".join(f"{value:.4g}" for value in between))
    return table


def correlations(answers: list[dict[str, Any]]) -> Table:
    """Between all measurements."""
    found = next(answer for answer in answers if answer["result"] == "CovarianceOf")
    covariance = np.array(found["covariance"])
    scales = np.sqrt(np.diag(covariance))
    table = Table(title="correlations", title_justify="left")
    for title in ("", *found["columns"]):
        table.add_column(title, justify="right" if title else "left")
    for name, row in zip(found["columns"], covariance / np.outer(scales, scales), strict=True):
        table.add_row(name, *(f"{value:+.3f}" for value in row))
    return table


def draw(answers: list[dict[str, Any]], folder: Path) -> Path | None:
    """The histogram, with the quartiles of the same column; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    found = next(answer for answer in answers if answer["result"] == "HistogramOf")
    marks = next(answer for answer in answers if answer["result"] == "QuantilesOf" and answer["column"] == found["column"])
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.stairs(found["counts"], found["edges"], fill=True, color="#4477aa")
    for share, value in marks["quantiles"].items():
        axes.axvline(value, color="#cc3311", linewidth=1.2)
        axes.annotate(f"{float(share):.0%}", (value, 0.96), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points")
    axes.set(xlabel=found["column"], ylabel=f"patients of {found['parties']} hospitals")
    axes.margins(y=0.12)
    path = folder / "histogram.png"
    figure.savefig(path, dpi=150)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
