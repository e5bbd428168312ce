"""`stfed export`: a run into TensorBoard and MLflow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stfed.cli import note

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.report.export import Target


def register(commands: Commands) -> None:
    """Adds `export`."""
    parser = commands.add_parser(
        "export",
        help="write a run for TensorBoard or MLflow",
        description="Scalars by round (metrics, parties asked and summed, bytes, seconds by step, clip, privacy spent), what the run was "
        "set to, and in words what protected the parties. Times are those of the run. A run may be exported while it goes on and again "
        "afterwards: what is there already is not doubled.",
        reads="RUN's event log, and the run file beside it",
        writes="an event file in FOLDER/NAME, or a run in an MLflow experiment; prints which",
        never="names a party, exports a model, or sends anything but to the --mlflow server",
        examples=(
            ("stfed export runs/quickstart-20270131-120000 --tensorboard tb", "then: tensorboard --logdir tb"),
            ("stfed export runs/quickstart-20270131-120000 --mlflow mlflow", "into a database in a folder"),
            ("stfed export runs/heart --mlflow https://mlflow.example --experiment heart --follow", "while it goes on"),
        ),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, or its event log")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="write an event file below this folder, TensorBoard's --logdir")
    parser.add_argument("--mlflow", metavar="URI", help="log to this tracking server or database, or to mlflow.db in this folder")
    parser.add_argument("--experiment", metavar="NAME", help="of MLflow, made if it is not there (default: stfed)")
    parser.add_argument("--name", metavar="NAME", help="what the run is called there (default: its folder's name)")
    parser.add_argument("--follow", action="store_true", help="go on until the run has ended")
    parser.set_defaults(handler=_export, wrong=parser.error)


def _export(arguments: argparse.Namespace) -> int:
    if arguments.tensorboard is None and arguments.mlflow is None:
        arguments.wrong("say where to: --tensorboard FOLDER, --mlflow URI, or both")
    if arguments.experiment is not None and arguments.mlflow is None:
        arguments.wrong("--experiment is of MLflow: it needs --mlflow")
    from stfed.cli.progress import working
    from stfed.report.export import Mlflow, TensorBoard, export, name_of
    from stfed.report.export.mlflow import EXPERIMENT

    with working("exporting"):
        name = arguments.name or name_of(arguments.run)
        targets: list[Target] = []
        if arguments.tensorboard is not None:
            targets.append(TensorBoard(arguments.tensorboard, name))
        if arguments.mlflow is not None:
            targets.append(Mlflow(arguments.mlflow, name, experiment=arguments.experiment or EXPERIMENT))
        export(arguments.run, *targets, follow=arguments.follow)
    for target in targets:
        print(target.place)
    for target in targets:
        note(f"to look at it: {target.viewer}")
    return 0
