"""`stfed run`: a Flower app on Flower's simulation runtime, or on a SuperLink, with progress that a person can follow."""

from __future__ import annotations

import argparse
import sys
import tomllib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfed.cli import note
from stfed.errors import LocalError, StfedError

if TYPE_CHECKING:
    from rich.console import Console

    from stfed.cli import Commands


def register(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "run",
        help="run a Flower app with a run file",
        description="Runs the Flower app in the current folder (or --app) on Flower's own simulation runtime and shows what happens. "
        "Everything the run leaves is in its own folder: the event log, Flower's log, a key, and every round's model, sealed for that "
        "key.\n\n"
        "With --superlink, hands the app to a SuperLink of Flower's configuration with the run file as it is, and streams Flower's log. "
        "Parties, files and the event log are those of that deployment; Ctrl+C leaves, and the run goes on.",
        reads="the run file, the app, and with --superlink Flower's configuration",
        writes="the folder of --out, which must not exist; with --superlink nothing here",
        never="writes over another run",
        examples=[
            ("stfed run configs/quickstart.toml", "simulated parties, everything in runs/quickstart-TIME"),
            ("stfed run study.toml --app heart --superlink hospitals", "on the SuperLink that `flwr config list` knows by this name"),
            ("stfed run study.toml --superlink hospitals --events /srv/fl/events.jsonl", "watched through its event log, on a shared disk"),
        ],
    )
    parser.add_argument("config", type=Path, metavar="FILE", help="run file (TOML), for example configs/quickstart.toml")
    parser.add_argument("--app", type=Path, default=Path(), metavar="FOLDER", help="folder of the Flower app (default: this one)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the results (default: runs/NAME-TIME)")
    parser.add_argument("--superlink", metavar="NAME", help="run it on this SuperLink of Flower's configuration instead")
    parser.add_argument("--events", type=Path, metavar="FILE", help="with --superlink: the coordinator's event log, if it can be read here")
    parser.add_argument("--lines", action="store_true", help="print a line for each sum in place of the view that redraws")
    parser.add_argument("--json", action="store_true", help="print the events as JSON lines instead")
    parser.set_defaults(handler=_run, wrong=parser.error)


def _run(arguments: argparse.Namespace) -> int:
    from stfed.cli import style
    from stfed.cli.runlink import run_on_superlink

    console = style.console(width=None if sys.stdout.isatty() else 160, soft_wrap=True)
    if arguments.superlink is not None:
        if arguments.out is not None:
            arguments.wrong("--out is for simulations: on a SuperLink the app writes where its run config says")
        if arguments.json and arguments.events is None:
            arguments.wrong("--json prints the event log: say with --events where it is")
        run_on_superlink(arguments, _values(arguments.config), console)
        return 0
    if arguments.events is not None:
        arguments.wrong("--events is for --superlink: a simulation has its event log in its own folder")
    out = run_app(arguments.config, app=arguments.app, out=arguments.out, console=console, as_json=arguments.json, lines=arguments.lines)
    if not arguments.json:
        print_files(console, out)
    return 0


def run_app(config: Path, *, app: Path, out: Path | None, console: Console, as_json: bool = False, lines: bool = False) -> Path:
    """Runs an app and shows its events.

    Args:
        config: the run file; its `num-parties` is the number of simulated parties.
        app: folder of the app. It must know the run-config keys `run-dir`, `recipient`, `signer` and `audit`.
        out: folder for the results, which must not exist; one under runs/ by default.
        console: where the progress goes.
        as_json: print the events as they are instead.
        lines: print a line for each sum also where the view that redraws could be shown.

    Returns:
        The folder: events.jsonl, models/, key and key.pub, coordinator and coordinator.pub, audit.db, flower.log, superlink.log.

    Raises:
        StfedError: the run did not get to its end; the message has the reason.
    """
    from stfed.cli.live import redraws, show
    from stfed.flower.runtime import SimulationRuntime, check_run_config, tail
    from stfed.keys import SigningKey, generate_keypair, write_keypair
    from stfed.report.eventlog import NAME

    values = _values(config)
    parties = values.get("num-parties")
    if type(parties) is not int or parties < 1:  # True is an int
        raise LocalError(f"the run file {config} does not say how many parties there are", hint="num-parties = 10")
    folder = (out or Path("runs") / f"{config.stem}-{datetime.now():%Y%m%d-%H%M%S}").resolve()
    overrides = {
        "run-dir": str(folder),
        "recipient": str(folder / "key.pub"),
        "signer": str(folder / "coordinator"),
        "audit": str(folder / "audit.db"),
    }
    values |= overrides
    check_run_config(values)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise LocalError(
            f"{out or _relative(folder)} is there already; a run never writes over another one", hint="choose another --out"
        ) from None
    write_keypair(folder / "key", generate_keypair()[0])
    write_keypair(folder / "coordinator", signing=SigningKey.generate())
    if not as_json:
        text = f"{config.name}: {parties} parties on Flower's simulation runtime; starting it takes some seconds"
        console.print(text, style="dim", highlight=False)
    with SimulationRuntime(folder) as runtime:
        runtime.start_run(app, values, parties)
        live = redraws() and not (as_json or lines)
        footer = f"{_relative(folder)}   Ctrl+C stops the run"
        try:
            run = show(folder / NAME, console, config.name, over=runtime.finished, live=live, as_json=as_json, footer=footer)
        except KeyboardInterrupt:
            note(f"the run is being stopped; what it has left is in {_relative(folder)}")
            raise
        if run.end is None or run.end["failure"]:
            reason = run.end["failure"] if run.end else f"Flower ended early:\n{tail(runtime.run_log)}"
            raise StfedError(f"the run did not get to its end: {reason}", hint=f"the logs are in {folder}")
    return folder


def _values(config: Path) -> dict[str, Any]:
    """The run file's."""
    try:
        return tomllib.loads(config.read_bytes().decode())
    except OSError as error:
        raise LocalError(f"the run file {config} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"the run file {config} is not UTF-8: its byte {error.start} is the first that is wrong") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits and a list a thousand deep are other errors than bad TOML
        raise LocalError(f"the run file {config} is not TOML: {error}") from error


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


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
