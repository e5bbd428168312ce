"""digits: the same training in plain FedAvg, in this process, where everybody can look into every update; and both in one picture."""

from __future__ import annotations

import logging
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from stfed.report.eventlog import NAME, read
from stfed.sealed.numpy import load_file
from stfed.testing import InMemoryGrid

APP = Path(__file__).parent
STATED = 2.0**-20  # of the clip: how far a secure round may be from a plain one with the default ring of 32 bits
CLIP = 8.0  # the default


class Round(NamedTuple):
    """A round: its number, how many branches were in the sum, the mean accuracy on their own images, the one on the public test set."""

    number: int
    summed: int
    federated: float
    central: float


class Plain(NamedTuple):
    """A plain run: its rounds, and the model after the first."""

    rounds: list[Round]
    first: dict[str, Any]


def rounds_of(folder: Path) -> list[Round]:
    """What the event log of a secure run says."""
    events = read(folder / NAME)
    train, evaluate = ([one for one in events if one["event"] == "round" and one["phase"] == phase] for phase in ("train", "evaluate"))
    central = [one["metrics"]["accuracy"] for one in events if one["event"] == "evaluation" and one["server_round"]]
    return [
        Round(one["server_round"], len(one["summed"]), other["metrics"]["eval_acc"], accuracy)
        for one, other, accuracy in zip(train, evaluate, central, strict=True)
    ]


def plain(run_file: Mapping[str, Any]) -> Plain:
    """The app's own train and evaluate functions, without the mod, under Flower's strategy, without the wrapper."""
    config = {**tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"], **run_file}
    parties, first = int(config["num-parties"]), dict[str, Any]()
    with _on_path(), _quiet():
        from cheques import client_app, server_app, task

        app = ClientApp()
        app.train()(client_app.train)
        app.evaluate()(client_app.evaluate)

        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
            if server_round == 1:
                first.update({name: array.numpy() for name, array in arrays.items()})
            return server_app.global_evaluate(server_round, arrays)

        result = FedAvg(fraction_evaluate=config["fraction-evaluate"]).start(
            InMemoryGrid(app, parties, run_config=config, keep_payloads=False),
            ArrayRecord(task.initial_model().state_dict()),
            num_rounds=config["num-server-rounds"],
            train_config=ConfigRecord({"lr": config["learning-rate"]}),
            evaluate_fn=evaluate,
        )
    federated, central = result.evaluate_metrics_clientapp, result.evaluate_metrics_serverapp
    return Plain([Round(number, parties, federated[number]["eval_acc"], central[number]["accuracy"]) for number in federated], first)


def first_round_differs(folder: Path, side: Plain) -> tuple[float, float]:
    """By how much any weight of the first sealed model differs from the plain one, and how much is allowed.

    Both rounds begin with the same model. Later ones drift apart, because training amplifies the last bits from round to round.
    """
    sealed = load_file(folder / "models" / "round-001.safetensors", identity=folder / "key", trusted=folder / "coordinator.pub")
    return max(float(abs(sealed[name] - value).max()) for name, value in side.first.items()), STATED * CLIP


def draw(secure: Sequence[Round], side: Sequence[Round], folder: Path) -> Path | None:
    """Both curves in one picture; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    numbers = [one.number for one in secure]
    axes.plot(numbers, [one.central for one in side], color="#bbbbbb", linewidth=5, label="plain FedAvg, public test set")
    axes.plot(numbers, [one.central for one in secure], color="#4477aa", marker="o", label="secure, public test set")
    axes.plot(numbers, [one.federated for one in secure], color="#cc3311", linestyle="--", label="secure, branches' own images")
    axes.set(xlabel="round", ylabel="accuracy", xticks=numbers)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path = folder / "accuracy.png"
    figure.savefig(path, dpi=120)
    return path


@contextmanager
def _on_path() -> Iterator[None]:
    """The app is one of its own, with its own place on the path."""
    sys.path.insert(0, str(APP))
    try:
        yield
    finally:
        sys.path.remove(str(APP))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Flower's own log of this side run out of the way."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
