"""End to end: how much longer the MNIST example trains in secure rounds than with plain federated averaging.

    python -m benchmarks.mnist

The same app (`examples.hospitals` with `configs/digits.toml`: 20 parties, a CNN, 5,000 digits, one party offline in each round), the same
seed and the same rounds on Flower's simulation runtime: inside `SecureAggregation`, and as Flower's FedAvg alone. What counts is the time
from the coordinator's evaluation of the initial model to that of the last one; starting Flower and Ray comes before it and is reported
apart. On this runtime Flower's coordinator looks for replies every tenth of a second, as ours does or nearly.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.errors import StfedError
from stfed.flower.runtime import SimulationRuntime, tail

TARGET = 1.10
ROOT = Path(__file__).parent.parent
APP, RUN_FILE = ROOT / "benchmarks" / "mnist_app", ROOT / "configs" / "digits.toml"
_WHY = "ours has twice the messages, an UNMASK for every sum, of training and of evaluation; each costs some ms, and a round takes a second"
_SAME_ACCURACY = 0.02
"""Two runs drift apart, because training amplifies the last bits of a model, but not by more than a few of 1,000 test images."""


SECURE, PLAIN = "secure", "plain"


@dataclass(frozen=True)
class Training:
    """One run.

    Attributes:
        variant: of the app.
        before_s: from the start of the runtime to the evaluation of the initial model.
        stamps: (seconds since the epoch, accuracy on the public test set) after round 0, 1, ...
    """

    variant: str
    before_s: float
    stamps: tuple[tuple[float, float], ...]

    @property
    def rounds_s(self) -> list[float]:
        """What each round took."""
        return [after - before for (before, _), (after, _) in pairwise(self.stamps)]

    @property
    def accuracy(self) -> float:
        """Of the last model."""
        return self.stamps[-1][1]

    def as_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        return {
            "variant": self.variant,
            "before_s": self.before_s,
            "rounds_s": self.rounds_s,
            "accuracies": [one for _, one in self.stamps],
        }


def train(config: dict[str, Any], variant: str) -> Training:
    """One whole run.

    Raises:
        StfedError: it did not get to its end; the message has the end of Flower's log.
    """
    progress(f"mnist: {config['num-server-rounds']} rounds of {config['num-parties']} parties, {variant}")
    folder = Path(tempfile.mkdtemp(prefix="stfed-mnist-"))
    app, stamps, start = _app(folder / "app"), folder / "stamps.jsonl", time.time()
    with SimulationRuntime(folder) as runtime:
        runtime.start_run(app, {**config, "variant": variant, "stamps": str(stamps), "run-dir": str(folder)}, config["num-parties"])
        while not runtime.finished():
            time.sleep(0.2)
        found = [json.loads(line) for line in stamps.read_text().splitlines()] if stamps.exists() else []
        if len(found) != config["num-server-rounds"] + 1:
            raise StfedError(f"the run did not get to its end:\n{tail(runtime.run_log)}", hint=f"the logs are in {folder}")
    shutil.rmtree(folder)
    return Training(variant, found[0]["time"] - start, tuple((one["time"], one["accuracy"]) for one in found))


def _app(folder: Path) -> Path:
    """A copy of the app, with the config keys of the repository's own app and two more."""
    shutil.copytree(APP, folder)
    keys = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    with (folder / "pyproject.toml").open("a") as file:
        file.write("".join(f"{key} = {json.dumps(value)}\n" for key, value in {**keys, "variant": "", "stamps": ""}.items()))
    return folder


def later_s(runs: Sequence[Training]) -> float:
    """A round but the first: the mean of the faster half of all, which is what is left when others use the machine too."""
    rounds = sorted(seconds for run in runs for seconds in run.rounds_s[1:])
    return mean(rounds[: -(-len(rounds) // 2)])


def lines(runs: Sequence[Training]) -> list[Line]:
    """The ratios of the whole training and of a round, with what comes before."""
    by = {variant: [run for run in runs if run.variant == variant] for variant in (SECURE, PLAIN)}
    whole = {variant: min(sum(run.rounds_s) for run in side) for variant, side in by.items()}
    later = {variant: later_s(side) for variant, side in by.items()}
    first = {variant: min(run.rounds_s[0] for run in side) for variant, side in by.items()}
    before = {variant: min(run.before_s for run in side) for variant, side in by.items()}

    def line(what: str, seconds: dict[str, float], target: float | None, note: str) -> Line:
        note = f"{seconds[SECURE]:.2f} s and {seconds[PLAIN]:.2f} s; {note}"
        return Line(f"{what}, secure / plain", seconds[SECURE] / seconds[PLAIN], "x", target, "less", note)

    return [
        line("training time", whole, TARGET, _WHY),
        line("a later round", later, None, "the mean of the faster half"),
        line("the first round", first, None, "workers load torch and data; ours has JOIN too"),
        line("before the first round", before, None, "Flower and Ray start"),
        Line("accuracy of the last model, secure - plain", by[SECURE][0].accuracy - by[PLAIN][0].accuracy),
    ]


def _plot(runs: Sequence[Training]) -> dict[str, Any]:
    """Every round of the first run of each variant; the first one, which is longer, is left out."""
    first = {run.variant: run.rounds_s[1:] for run in reversed(runs)}
    series = [{"name": name, "line": True, "x": list(range(2, len(rounds) + 2)), "y": rounds} for name, rounds in first.items()]
    return {"name": "rounds", "title": "the MNIST example, round by round", "x": "round", "y": "seconds", "series": series}


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if the two models are not equally good, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mnist", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=2, help="runs of each variant, in turns")
    parser.add_argument("--rounds", type=int, help="instead of the run file's")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 parties, once: half a minute")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    config = tomllib.loads(RUN_FILE.read_text())
    if options.rounds:
        config["num-server-rounds"] = options.rounds
    if options.quick:
        config |= {"dataset": "digits", "num-parties": 5, "num-server-rounds": 2, "drop-per-round": 0}
    # The simulated parties find the example and the recipes here; Flower carries the app itself to them.
    os.environ["PYTHONPATH"] = str(ROOT)
    runs = [train(config, variant) for _ in range(1 if options.quick else options.repeat) for variant in (PLAIN, SECURE)]
    apart = max(abs(run.accuracy - runs[0].accuracy) for run in runs)
    wrong = [f"the models' accuracies are {apart:.3f} apart"] if apart > _SAME_ACCURACY else []
    title = f"{RUN_FILE.name} in secure rounds and plain: {config['num-parties']} parties, {config['num-server-rounds']} rounds, simulated"
    data = {"config": config, "runs": [run.as_json() for run in runs], "plots": [_plot(runs)]}
    return Section("mnist", title, lines(runs), data, options.quick, wrong).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
