"""`stfed run`: a Flower app on Flower's simulation runtime, with progress that a person can follow."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.errors import LocalError, StfedError

if TYPE_CHECKING:
    from rich.console import Console

    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "run",
        help="run a Flower app with a run file, on the simulation runtime",
        description="Runs the Flower app in the current folder (or --app) on Flower's own simulation runtime and shows what happens. "
        "Everything the run leaves is in its own folder: the event log, Flower's log, a key, and every round's model, sealed for that key.",
        epilog="example: stfed run configs/quickstart.toml",
    )
    parser.add_argument("config", type=Path, help="run file (TOML), for example configs/quickstart.toml")
    parser.add_argument("--app", type=Path, default=Path(), help="folder of the Flower app (default: this one)")
    parser.add_argument("--out", type=Path, help="folder for the results (default: runs/NAME-TIME)")
    parser.add_argument("--json", action="store_true", help="print the events as JSON lines instead")
    parser.set_defaults(handler=_run)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 160, soft_wrap=True)
    out = run_app(arguments.config, app=arguments.app, out=arguments.out, console=console, as_json=arguments.json)
    if not arguments.json:
        print_files(console, out)
    return 0


def run_app(config: Path, *, app: Path, out: Path | None, console: Console, as_json: bool = False) -> Path:
    """Runs an app and shows its events.

    Args:
        config: the run file; its `num-parties` is the number of simulated parties.
        app: folder of the app. It must know the run-config keys `run-dir`, `recipient`, `signer` and `audit`.
        out: folder for the results, which must not exist; one under runs/ by default.
        console: where the progress goes.
        as_json: print the events as they are instead.

    Returns:
        The folder: events.jsonl, models/, key and key.pub, coordinator and coordinator.pub, audit.db, flower.log, superlink.log.

    Raises:
        StfedError: the run did not get to its end; the message has the reason.
    """
    from stfed.flower.runtime import SimulationRuntime, tail
    from stfed.keys import SigningKey, generate_keypair, write_keypair
    from stfed.report.eventlog import NAME, follow

    try:
        values = tomllib.loads(config.read_text())
    except OSError as error:
        raise LocalError(f"the run file {config} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise LocalError(f"the run file {config} is not TOML: {error}") from error
    parties = values.get("num-parties")
    if not isinstance(parties, int) or parties < 1:
        raise LocalError(f"the run file {config} does not say how many parties there are", hint="num-parties = 10")
    folder = out or Path("runs") / f"{config.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise LocalError(f"{folder} is there already; a run never writes over another one", hint="choose another --out") from None
    folder = folder.resolve()
    write_keypair(folder / "key", generate_keypair()[0])
    write_keypair(folder / "coordinator", signing=SigningKey.generate())
    show = _Json(console) if as_json else Progress(console)
    show.note(f"{config.name}: {parties} parties on Flower's simulation runtime; starting it takes some seconds")
    with SimulationRuntime(folder) as runtime:
        overrides = {
            "run-dir": str(folder),
            "recipient": str(folder / "key.pub"),
            "signer": str(folder / "coordinator"),
            "audit": str(folder / "audit.db"),
        }
        runtime.start_run(app, {**values, **overrides}, parties)
        last: Mapping[str, Any] = {}
        for last in follow(folder / NAME, over=runtime.finished):
            show.event(last)
        if last.get("event") != "end" or last.get("failure"):
            reason = last.get("failure") or f"Flower ended early:\n{tail(runtime.run_log)}"
            raise StfedError(f"the run did not get to its end: {reason}", hint=f"the logs are in {folder}")
    return folder


class Progress:
    """Prints one line per secure sum."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rounds, self._clip_follows = 0, False

    def note(self, text: str) -> None:
        """A line of explanation."""
        self._console.print(text, style="dim", highlight=False)

    def event(self, event: Mapping[str, Any]) -> None:
        """Shows one event of the log."""
        show = getattr(self, f"_{event['event']}", None)
        if show is not None:
            show(event)

    def _start(self, event: Mapping[str, Any]) -> None:
        self._rounds = event["num_rounds"]
        settings = event["settings"]
        self._clip_follows = isinstance(settings["clip"], dict)
        self._console.print(
            f"[bold]{event['strategy']}[/] over secure sums: {settings['mode']}, {_precision(settings)}, "
            + ("a learnt clip, " if self._clip_follows else f"clip {settings['clip']:g}, ")
            + f"up to {settings['gamma']:.0%} of the parties corrupt, {settings['delta']:.0%} dropping",
            highlight=False,
        )

    def _epoch(self, event: Mapping[str, Any]) -> None:
        self._console.print(f"epoch {event['epoch']}: {event['joined']} of {event['asked']} parties joined", highlight=False)

    def _round(self, event: Mapping[str, Any]) -> None:
        train = event["phase"] == "train"
        name = f"round {event['server_round']:>3}/{self._rounds}" if train else " " * len(f"round   1/{self._rounds}")
        what = event["phase"] if event["group"] is None else f"group {event['group'] + 1}"
        if event["failure"]:
            self._console.print(f"{name}  {what:<8} [red]failed[/]: {event['failure']}", highlight=False)
            return
        asked, summed = len(event["asked"]), len(event["summed"])
        metrics = "  ".join(f"{key} {value:.4f}" for key, value in event["metrics"].items() if isinstance(value, float | int))
        seconds = "  ".join(f"{step} {value:.2f} s" for step, value in event["seconds"].items() if step != "sum")
        up, down = sum(event["bytes_up"].values()), sum(event["bytes_down"].values())
        dropped = f"{asked - summed} dropped"
        clip = f"  clip {event['clip']:g}" if self._clip_follows and train else ""
        self._console.print(
            f"{name}  {what:<8}  asked {asked:>3}  summed {summed:>3}  "
            + (f"[yellow]{dropped}[/]" if asked > summed else dropped)
            + f"  {metrics}{clip}  [dim]up {_size(up)}  down {_size(down)}  {seconds}[/]",
            highlight=False,
        )

    def _evaluation(self, event: Mapping[str, Any]) -> None:
        name = " " * len(f"round   1/{self._rounds}")
        metrics = "  ".join(f"{key} {value:.4f}" for key, value in event["metrics"].items())
        self._console.print(f"{name}  [bold]global    {metrics}[/]", highlight=False)

    def _end(self, event: Mapping[str, Any]) -> None:
        if not event["failure"]:
            self._console.print(f"done in {event['seconds']:.1f} s", highlight=False)


class _Json(Progress):
    """Prints the events as they are."""

    def note(self, text: str) -> None:
        """Nothing: standard output is for events."""

    def event(self, event: Mapping[str, Any]) -> None:
        print(json.dumps(event), flush=True)


def print_files(console: Console, folder: Path) -> None:
    """Says what is where, and how to open a model."""
    models = sorted((folder / "models").glob("*.safetensors"))
    place = _relative(folder)
    console.print(f"\nThe files are in [bold]{place}[/]:", highlight=False)
    console.print("  events.jsonl            what happened, one JSON object a line", highlight=False)
    console.print("  key, key.pub            a key pair made for this run; guard `key`", highlight=False)
    console.print("  coordinator(.pub)       what the models and the log are signed with", highlight=False)
    console.print("  audit.db                every released sum and every sealed model, in a log that shows tampering", highlight=False)
    if models:
        console.print(f"  models/                 {len(models)} sealed models, one a round; only `key` opens them", highlight=False)
        model, keys = f"{place}/models/{models[-1].name}", f"--identity {place}/key --trusted {place}/coordinator.pub"
        for command in (f"inspect {model}", f"open {model} {keys} --out model.safetensors", f"audit verify {place}/audit.db"):
            console.print(f"  stfed {command}", style="dim", highlight=False)


def _precision(settings: Mapping[str, Any]) -> str:
    bits = f"{settings['ring_bits']}-bit ring" if settings.get("value_bits") is None else f"{settings['value_bits']}-bit values"
    return f"{bits}, rotated" if settings.get("rotation") else bits


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
