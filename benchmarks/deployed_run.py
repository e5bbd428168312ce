"""One deployment, run once: a SuperLink, SuperNodes and a run of `deployed_app`, with everything that was written down about its messages.

Nothing of Flower is changed. The SuperLink's database keeps the times of every message (`stfed.testing.ledger`), a mod in the app notes
when a node's process began and when the message came and went, and the ServerApp notes the end of every round.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stfed.cli import main as stfed
from stfed.errors import LocalError
from stfed.flower.processes import tail
from stfed.testing.deployment import TASK_POLL_S, Operator, SuperLink, SuperNode, Value, wait_until
from stfed.testing.ledger import Ledger, Trip
from stfed.testing.pki import Authority

APP = Path(__file__).with_name("deployed_app")
_RUN_TIMEOUT_S = 900.0
_FEWEST_MALICIOUS = 4  # by the default policy: one of three may work with the coordinator
_SHRUNK = 0.75  # what `timed.task.trained` makes of every coordinate
_SEED, _SPREAD = 7, 0.3


@dataclass(frozen=True)
class Variant:
    """A way to run the same rounds.

    Attributes:
        key: in JSON and on the command line.
        name: for people.
        module: of `timed`, which has client and server.
        mode: of `SecureAggregation`; empty for what is not ours.
        pinned: under `stfed supernode`, with the ClientApp of the node's owner.
    """

    key: str
    name: str
    module: str
    mode: str = ""
    pinned: bool = False


@dataclass(frozen=True)
class Setting:
    """What all variants share.

    Attributes:
        parties: SuperNodes; in malicious mode at least four.
        rounds: of a run, the first of which is no steady state.
        parameters: of the model.
        evaluate: with an evaluation by the parties in every round.
        tls: with a certificate, as malicious mode wants it; otherwise without, as for Flower's own.
    """

    parties: int = 3
    rounds: int = 6
    parameters: int = 10_000
    evaluate: bool = False
    tls: bool = False


@dataclass(frozen=True)
class Stamps:
    """What a node noted about one message, in seconds since the epoch: process began, message at the mods, reply out of the mods."""

    began: float
    entered: float
    left: float


@dataclass(frozen=True)
class Measured:
    """A finished run.

    Attributes:
        marks: when each round ended, the start of the run first.
        trips: round trips, in order.
        stamps: by message id.
        error: largest absolute error of a coordinate of the last model.
        steps: seconds by step of each secure sum, from our event log.
    """

    variant: Variant
    setting: Setting
    marks: tuple[float, ...]
    trips: tuple[Trip, ...]
    stamps: dict[str, Stamps]
    error: float
    steps: tuple[dict[str, float], ...]

    @property
    def round_s(self) -> list[float]:
        """Seconds of each round in the steady state: from the end of the one before to its own."""
        return [after - before for before, after in zip(self.marks[1:], self.marks[2:], strict=False)]

    def steady_trips(self) -> list[list[Trip]]:
        """The round trips of each of these rounds, by when they were sent."""
        bounds = zip(self.marks[1:], self.marks[2:], strict=False)
        return [[trip for trip in self.trips if before <= trip.sent < after] for before, after in bounds]


def run(variant: Variant, setting: Setting, root: Path) -> Measured:
    """Runs one variant in a deployment of its own.

    Args:
        root: a new folder.

    Raises:
        LocalError: something did not start, or the run failed.
    """
    with contextlib.ExitStack() as stack:
        return _run(variant, setting, root, stack)


def _run(variant: Variant, setting: Setting, root: Path, stack: contextlib.ExitStack) -> Measured:
    if variant.mode == "malicious":
        setting = replace(setting, parties=max(setting.parties, _FEWEST_MALICIOUS))
    app, notes = _app(variant, root), root / "notes"
    notes.mkdir()
    nodes = [root / f"node-{number}" for number in range(1, setting.parties + 1)]
    roster = _parties(nodes, root) if variant.mode == "malicious" else None
    tls = Authority.new("benchmark authority").issue(["127.0.0.1", "localhost"], root / "tls") if setting.tls else None
    link = SuperLink(root / "link", tls, supernode_auth=False)
    stack.callback(link.end)
    link.start()
    ledger = Ledger(link.database)
    ledger.open()
    authority = None if tls is None else tls.authority
    supernodes = [_supernode(variant, folder, link.port, authority, notes, app, roster) for folder in nodes]
    for node in supernodes:
        stack.callback(node.kill)
        node.start()
    for node in supernodes:
        wait_until(node.online, f"{node.name} is not online", node.log)
    operator = Operator(root / "operator", link.port, authority)
    operator.folder.mkdir()
    config: dict[str, Value] = {
        "num-server-rounds": setting.rounds,
        "parties": setting.parties,
        "parameters": setting.parameters,
        "evaluate": setting.evaluate,
        "marks": str(notes / "marks.jsonl"),
    }
    if variant.mode:
        config |= {"mode": variant.mode, "events": str(notes / "events.jsonl"), "roster": "" if roster is None else str(roster)}
    process = operator.run(app, config, "run")
    stack.callback(process.kill)
    wait_until(lambda: process.poll() is not None, "the run does not end", link.log, timeout_s=_RUN_TIMEOUT_S)
    marks = tuple(float(line["time"]) for line in _lines(notes / "marks.jsonl"))
    if len(marks) != setting.rounds + 1:
        raise LocalError(f"the run of {variant.name} failed; everything is in {root}:\n{tail(operator.log('run'), 30)}")
    stamps = {line["message"]: Stamps(line["began"], line["entered"], line["left"]) for node in nodes for line in _lines(notes / node.name)}
    steps = tuple(line["seconds"] for line in _lines(notes / "events.jsonl") if line["event"] == "round")
    return Measured(variant, setting, marks, tuple(ledger.trips()), stamps, _error(notes / "marks.npy", setting), steps)


def _app(variant: Variant, root: Path) -> Path:
    """A copy of the app whose components are the variant's."""
    folder = shutil.copytree(APP, root / "app", ignore=shutil.ignore_patterns("__pycache__"))
    project = folder / "pyproject.toml"
    project.write_text(project.read_text().replace("timed.secure:", f"timed.{variant.module}:"))
    return folder


def _parties(nodes: list[Path], root: Path) -> Path:
    """Identities and a roster of them; a policy that asks for malicious mode comes with them."""
    roster = root / "roster.toml"
    _stfed("roster", "init", roster, "--name", "the benchmark")
    for node in nodes:
        node.mkdir()
        _stfed("keygen", "--out", node / "party.key", "--only", "signing")
        _stfed("roster", "add", roster, node.name, "--key", node / "party.key.pub", "--role", "party")
    return roster


def _supernode(variant: Variant, folder: Path, port: int, authority: Path | None, notes: Path, app: Path, roster: Path | None) -> SuperNode:
    config: dict[str, Value] = {"stamps": str(notes / folder.name)}
    if variant.mode:
        config["stfed-state-dir"] = str(folder / "state")
    if roster is not None:
        config |= {"stfed-identity": str(folder / "party.key"), "stfed-roster": str(roster), "stfed-allow-insecure": authority is None}
    pinned = f"timed.{variant.module}:client" if variant.pinned else None
    return SuperNode(folder.name, folder, port, authority, None, config, app=pinned, task_poll_s=TASK_POLL_S, python_path=app)


def _error(file: Path, setting: Setting) -> float:
    """How far the last model is from what the rounds make of the first one."""
    first = np.random.default_rng(_SEED).normal(0, _SPREAD, setting.parameters).astype(np.float32)
    return float(abs(np.load(file) - first * _SHRUNK**setting.rounds).max())


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text().splitlines())


def _stfed(*arguments: str | Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = stfed([str(argument) for argument in arguments])
    if code != 0:
        raise LocalError(f"stfed {arguments[0]} failed: {said.getvalue()}")
